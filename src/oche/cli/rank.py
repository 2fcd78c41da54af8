"""`oche rank`: how far each node of a linked list is from its end."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oche.cli.npy import check_writable, load_npy, save_npy
from oche.cli.options import debug_option, json_option, positive, whole
from oche.cli.output import print_json
from oche.cli.session import cluster_at
from oche.kernels.philox import key_of

if TYPE_CHECKING:
    from oche.stores.arrays import Array


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False, metavar="[FILE.npy]")
@click.option("--size", type=positive, metavar="N", help="Rank a random list of N nodes instead of a file's.")
@click.option("--seed", type=whole, default=0, metavar="SEED", show_default=True, help="Which random list.")
@click.option("--output", "-o", type=click.Path(path_type=Path), metavar="OUT.npy", help="Write the ranks there.")
@click.option("--on", "url", metavar="URL", help="Where to compute (OCHE_URL, else local:).")
@click.option("--workers", type=positive, metavar="N", help="Processes, with local: only (all cores).")
@json_option
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
@debug_option
def rank(
    file: Path | None, size: int | None, seed: int, output: Path | None, url: str | None, workers: int | None,
    as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Rank linked lists: node i is followed by the i-th integer of FILE.npy, and -1 or i itself ends a list.

    The rank of a node is the number of links from it to the end of its list. Afterwards each one is checked against
    that of the next node. The seconds are those of ranking, with all copying to the workers and back.
    """
    from oche.algorithms.list_ranking import list_rank

    if (file is None) == (size is None):
        raise click.UsageError("give either a FILE.npy or --size N")
    if output is not None:
        check_writable(output)
    links = load_npy(file) if file is not None else _random(size or 1, seed)
    with cluster_at(url, None, workers) as cluster:
        began = time.perf_counter()
        ranks = list_rank(links, cluster=cluster, progress=not quiet and sys.stderr.isatty())
        seconds = time.perf_counter() - began
    wrong = _wrong(links, ranks)
    ends, longest = int((ranks == 0).sum()), int(ranks.max(initial=-1)) + 1
    if output is not None:
        save_npy(output, ranks)
    if as_json:
        rate = len(links) / seconds
        found = {"nodes": len(links), "lists": ends, "longest": longest, "wrong": wrong, "seconds": seconds}
        print_json(found | {"links_per_second": rate, "output": output})
    else:
        lists = "one list" if ends == 1 else f"{ends:,} lists, the longest of {longest:,}"
        click.secho(f"{len(links):,} nodes in {lists}" + (f": {output}" if output else ""), bold=True)
        click.echo(f"{seconds:.2f} s, {len(links) / seconds / 1e6:,.1f} million links/s")
        click.echo(f"{wrong:,} ranks are wrong" if wrong else "checked: every rank is one more than the next node's")
    if wrong:
        raise SystemExit(1)


def _random(n: int, seed: int) -> Array:
    """One list through n nodes in random order. Raises `ConfigError` for a wrong seed."""
    import numpy as np

    key_of(seed)
    order = np.random.Generator(np.random.Philox(seed)).permutation(n)
    links = np.empty(n, np.int64)
    links[order[:-1]] = order[1:]
    links[order[-1]] = -1
    return links


def _wrong(links: Array, ranks: Array) -> int:
    """Ranks that are not 0 at an end, or do not follow from that of the next node. If there are none, all are right."""
    import numpy as np

    ends = (links == -1) | (links == np.arange(len(links)))
    return int((ranks != np.where(ends, 0, ranks[links] + 1)).sum())
