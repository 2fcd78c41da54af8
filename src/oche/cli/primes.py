"""`oche primes`: the primes of a range, one a line, or how many there are."""

from __future__ import annotations

import sys
import time

import click

from oche.cli.options import cluster_options, debug_option, json_option, whole
from oche.cli.output import print_json
from oche.cli.session import cluster_at

#: Primes that are made into text together.
LINES = 10**6


@click.command()
@click.argument("lo", type=whole, metavar="LO")
@click.argument("hi", type=whole, metavar="HI")
@click.option("--count", "counted", is_flag=True, help="Only say how many there are.")
@cluster_options
@json_option
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
@debug_option
def primes(
    lo: int, hi: int, counted: bool,
    url: str | None, workers: int | None, run_name: str | None, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """List or count the primes p of a range, LO <= p < HI."""
    from oche.algorithms.primes import count_primes
    from oche.algorithms.primes import primes as listed

    shown = not quiet and sys.stderr.isatty()
    began = time.perf_counter()
    with cluster_at(url, run_name, workers) as cluster:
        if counted:
            total = count_primes(lo, hi, cluster=cluster, progress=shown)
        else:
            found = listed(lo, hi, cluster=cluster, progress=shown)
    seconds = time.perf_counter() - began
    if counted and as_json:
        print_json({"lo": lo, "hi": hi, "count": total, "seconds": seconds})
    elif counted:
        click.secho(f"{total:,} primes from {lo:,} to {hi:,}", bold=True)
        click.echo(f"{seconds:.2f} s")
    elif as_json:
        print_json(found.tolist())
    else:
        for at in range(0, found.size, LINES):
            click.echo("\n".join(map(str, found[at : at + LINES].tolist())))
