"""`oche sort`: the array of a file, sorted on a cluster, in another file."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import click

from oche.cli.npy import check_writable, load_npy, save_npy
from oche.cli.options import debug_option, json_option, positive
from oche.cli.output import print_json
from oche.cli.session import cluster_at


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.npy")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="OUT.npy",
    help="Instead of FILE.sorted.npy; may be FILE.",
)
@click.option("--order", multiple=True, metavar="FIELD", help="Compare this field first; can be given again.")
@click.option("--on", "url", metavar="URL", help="Where to compute (OCHE_URL, else local:).")
@click.option("--workers", type=positive, metavar="N", help="Processes, with local: only (all cores).")
@json_option
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
@debug_option
def sort(
    file: Path, output: Path | None, order: tuple[str, ...], url: str | None, workers: int | None, as_json: bool,
    quiet: bool,
) -> None:  # fmt: skip
    """Sort the one-dimensional array of an .npy file; equal items stay in their order.

    Writes FILE.sorted.npy if no other output is named. The seconds are those of sorting, with all copying to the
    workers and back, without reading and writing files.
    """
    from oche.algorithms.sort import sort as sort_array

    output = output or file.with_suffix(".sorted.npy")
    array = load_npy(file)
    check_writable(output)
    with cluster_at(url, None, workers) as cluster:
        began = time.perf_counter()
        result = sort_array(array, cluster=cluster, order=order, progress=not quiet and sys.stderr.isatty())
        seconds = time.perf_counter() - began
    save_npy(output, result)
    rate = result.size / seconds if seconds else math.inf
    if as_json:
        print_json(
            {
                "n": result.size,
                "dtype": str(result.dtype),
                "seconds": seconds,
                "keys_per_second": rate,
                "output": output,
            }
        )
        return
    click.secho(f"{result.size:,} keys, {result.dtype}: {output}", bold=True)
    click.echo(f"{seconds:.2f} s, {rate / 1e6:,.1f} million keys/s")
