"""`oche wordcount`: the first program of every map and reduce."""

from __future__ import annotations

import os
import sys
import time

import click

from oche.cli.options import debug_option, json_option, positive
from oche.cli.output import print_json, print_table
from oche.cli.session import cluster_at


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILES...")
@click.option("--top", type=positive, default="20", metavar="N", show_default=True, help="How many words to print.")
@click.option("--on", "url", metavar="URL", help="Where to compute (OCHE_URL, else local:).")
@click.option("--workers", type=positive, metavar="N", help="Processes, with local: only (all cores).")
@json_option
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
@debug_option
def wordcount(
    files: tuple[str, ...], top: int, url: str | None, workers: int | None, as_json: bool, quiet: bool
) -> None:
    """Count the words of text files (UTF-8) and print the most frequent.

    Workers read the files themselves, large ones in pieces, so every worker must see them. A word is a run of
    letters, digits and underscores; upper and lower case differ.
    """
    from oche.algorithms.words import word_count

    began = time.perf_counter()
    with cluster_at(url, None, workers) as cluster:
        counts = word_count(files, cluster=cluster, progress=sys.stderr.isatty() and not quiet)
        seconds = time.perf_counter() - began
    size, total = sum(map(os.path.getsize, files)), counts.total()
    if as_json:
        print_json(
            {
                "files": len(files),
                "bytes": size,
                "words": total,
                "distinct": len(counts),
                "seconds": seconds,
                "top": counts.most_common(top),
            }
        )
        return
    print_table(("count", "word"), [(count, word) for word, count in counts.most_common(top)])
    what = "file" if len(files) == 1 else "files"
    click.echo(f"{total:,} words, {len(counts):,} of them distinct, in {len(files):,} {what}")
    click.echo(f"{seconds:.2f} s, {size / 1e6 / seconds:,.1f} MB/s")
