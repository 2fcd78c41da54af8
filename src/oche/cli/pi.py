"""`oche pi`: the first thing to try, and a proof that a cluster computes right."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from oche.cli.options import cluster_options, debug_option, json_option, positive, whole
from oche.cli.output import print_json
from oche.cli.session import cluster_at

if TYPE_CHECKING:
    from oche.algorithms.pi import PiResult


@click.command()
@click.argument("n", type=positive, default="1e9", metavar="[N]")
@click.option(
    "--seed", type=whole, default=0, metavar="SEED", show_default=True, help="Which darts; any number below 2**64."
)
@cluster_options
@json_option
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
@debug_option
def pi(
    n: int, seed: int, url: str | None, workers: int | None, run_name: str | None, as_json: bool, quiet: bool
) -> None:
    """Throw N darts (1e9) at a square and count those in the circle.

    The count is the same integer for the same N and seed, on every engine, with any number of workers,
    also if some are killed meanwhile.
    """
    from oche.algorithms.pi import pi as throw

    with cluster_at(url, run_name, workers) as cluster, _progress(n, shown=not quiet) as on_progress:
        result = throw(n, seed=seed, cluster=cluster, on_progress=on_progress)
    if as_json:
        print_json(_plain(result))
        return
    first, _, rest = str(result).partition("\n")
    click.secho(first, bold=True)
    click.echo(rest)


@contextmanager
def _progress(n: int, *, shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on stderr if that is a terminal; else nothing."""
    if not shown or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("pi"),
        BarColumn(bar_width=32),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("[dim]{task.fields[about]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("pi", total=n, about="waiting for the first darts")
        began = time.monotonic()

        def on_progress(darts: int, inside: int) -> None:
            bar.update(task, completed=darts, about=_about(n, darts, inside, time.monotonic() - began))

        yield on_progress


def _about(n: int, darts: int, inside: int, seconds: float) -> str:
    """What is known so far, in columns that do not jump."""
    from oche.algorithms.pi import PiResult

    so_far = PiResult(n=darts, seed=0, inside=inside, seconds=seconds)
    left = (n - darts) / so_far.darts_per_second
    digits = min(15, max(2, math.ceil(math.log10(darts) / 2) + 1))  # two of them uncertain
    value = f"{so_far.estimate:.{digits}f} ± {so_far.standard_error:.{digits}f}"
    return f"{value:<25} {so_far.darts_per_second / 1e6:>7,.0f} M darts/s   {_clock(left)} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _plain(result: PiResult) -> dict[str, object]:
    return {
        "n": result.n,
        "seed": result.seed,
        "inside": result.inside,
        "estimate": result.estimate,
        "standard_error": result.standard_error,
        "interval": list(result.interval),
        "error": result.error,
        "contains_pi": result.contains_pi,
        "seconds": result.seconds,
        "darts_per_second": result.darts_per_second,
    }
