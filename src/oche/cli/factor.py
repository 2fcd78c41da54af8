"""`oche factor`: one number, and every CPU of the cluster looks for what divides it."""

from __future__ import annotations

import json
import sys
import time

import click

from oche.cli.options import cluster_options, debug_option, json_option
from oche.cli.prime import integer
from oche.cli.session import cluster_at


@click.command()
@click.argument("n", type=integer, metavar="N")
@cluster_options
@json_option
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
@debug_option
def factor(n: int, url: str | None, workers: int | None, run_name: str | None, as_json: bool, quiet: bool) -> None:
    """Search the cluster for the prime factors of N.

    All candidates up to the second largest factor are tried: below 2**64 that takes a fifth of a second of one
    core at most, far above it may take for ever.
    """
    from oche.algorithms.factors import prime_factors

    began = time.perf_counter()
    with cluster_at(url, run_name, workers) as cluster:
        factors = prime_factors(n, cluster=cluster, progress=not quiet and sys.stderr.isatty())
    seconds = time.perf_counter() - began
    if as_json:
        click.echo(json.dumps({"n": n, "factors": factors, "seconds": seconds}))
    else:
        click.secho(f"{n} = {' * '.join(map(str, factors)) or 1}", bold=True)
        click.echo(f"{seconds:.2f} s")
