"""`oche compare`: all engines side by side; and what was published about sharing between processes, made again."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oche.cli.options import debug_option, json_option, positive, whole
from oche.cli.output import console, note, print_json
from oche.compare.engines_work import TASKS
from oche.worker.cores import usable_cores

if TYPE_CHECKING:
    from oche.compare.table import Goal, Progress, Table

#: Seconds between two lines that say how far a comparison is, where there is no terminal.
PAUSE = 15.0


def processes_option(default: Callable[[], int] | int) -> Callable[[Any], Any]:
    """--processes."""
    return click.option(
        "--processes", type=positive, metavar="N", default=default,
        help="Processes side by side (published: 4).", show_default="cores" if callable(default) else True,
    )  # fmt: skip


plot_option = click.option(
    "--plot", "pictures", type=click.Path(path_type=Path), multiple=True, metavar="FILE",
    help="Draw it, too: FILE.png or FILE.svg; may be given again.",
)  # fmt: skip
quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")


@click.group()
def compare() -> None:
    """Compare engines, and ways to share between processes, on this machine."""


@compare.command()
@click.option(
    "--task", type=click.Choice(list(TASKS)), default="pi", show_default=True,
    help="What the speed-up is measured with; noop: with nothing.",
)  # fmt: skip
@click.option(
    "--workers", "-n", type=positive, default=usable_cores, metavar="N", help="On each engine.", show_default="cores"
)
@click.option("--only", metavar="ENGINE,...", help="Only these, as local,redis,dask.")
@plot_option
@json_option
@quiet_option
@debug_option
def engines(task: str, workers: int, only: str | None, pictures: Sequence[Path], as_json: bool, quiet: bool) -> None:
    """Give the same work to every engine that can be started here, one at a time: which is good for what?

    Servers and workers are started on this machine, and ended again; what is missing is named, with how to get it.
    In the end a worker is killed. All engines take less than 10 minutes. Exit status 1: an engine answered wrong.
    """
    from oche.compare import engines_plot, engines_report, plot
    from oche.compare.engines import compare_engines

    for picture in pictures:
        plot.check_path(picture)
    names = None if only is None else [name.strip() for name in only.split(",") if name.strip()]
    with _progress("--only makes it less", shown=not quiet) as on_progress:
        found = compare_engines(task, workers=workers, only=names, on_progress=on_progress)
    for picture in pictures:
        engines_plot.save(found, picture)
    _print(as_json, engines_report.plain(found), [engines_report.table(found)], engines_report.goals(found))
    if any(engine.wrong for engine in found.engines):
        click.get_current_context().exit(1)


@compare.command()
@click.option("--runs", type=positive, default=20, show_default=True, metavar="N", help="The best of so many counts.")
@processes_option(usable_cores)
@click.option("--only", metavar="ROW,...", help="Only these rows, as serial,pool,local,kernel-byte.")
@click.option("--numbers", metavar="N,...", help="Other numbers than the published five.")
@plot_option
@json_option
@quiet_option
@debug_option
def primes(
    runs: int, processes: int, only: str | None, numbers: str | None, pictures: Sequence[Path],
    as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Ask whether a number is prime, in every published way and in ours.

    Plain Python takes 5 to 20 seconds for a prime of 18 digits: all rows and 20 runs take an hour or two.
    --runs 3, --only and --numbers make it shorter.
    """
    from oche.compare import plot, primes_plot, primes_report
    from oche.compare.primes import NUMBERS, compare_primes
    from oche.compare.primes_rows import pick

    rows, asked = pick(only), NUMBERS if numbers is None else _numbers(numbers)
    for picture in pictures:
        plot.check_path(picture)
    with _progress("--runs, --only and --numbers make it less", shown=not quiet) as on_progress:
        found = compare_primes(asked, rows=rows, runs=runs, processes=processes, on_progress=on_progress)
    for picture in pictures:
        primes_plot.save(found, picture)
    _print(as_json, primes_report.plain(found), [primes_report.table(found)], primes_report.goals(found))


@compare.command()
@click.option("--shape", metavar="ROWSxCOLUMNS", help="Of float64.  [default: 10000x80000, less if memory is short]")
@processes_option(usable_cores)
@json_option
@quiet_option
@debug_option
def arrays(shape: str | None, processes: int, as_json: bool, quiet: bool) -> None:
    """Hand a large array to processes, which check and overwrite it: where is its memory, how long does it take?"""
    from oche.compare import arrays_report
    from oche.compare.arrays import compare_arrays

    sides = None if shape is None else _shape(shape)
    found = compare_arrays(sides, processes=processes, on_step=None if quiet else note)
    _print(as_json, arrays_report.plain(found), arrays_report.tables(found), arrays_report.goals(found))


@compare.command()
@processes_option(4)
@click.option("--increments", type=positive, default=1000, show_default=True, metavar="N", help="Of each process.")
@click.option("--seed", type=whole, default=0, show_default=True, metavar="SEED", help="Whose turn it is in the race.")
@json_option
@debug_option
def counters(processes: int, increments: int, seed: int, as_json: bool) -> None:
    """Let processes count in one place, with and without a lock: what is lost, and why?"""
    from oche.compare import counters_report
    from oche.compare.counters import compare_counters

    found = compare_counters(processes, increments, seed=seed)
    _print(as_json, counters_report.plain(found), [counters_report.table(found)], counters_report.goals(found))


def _print(as_json: bool, plain: object, tables: Sequence[Table], goals: Sequence[Goal]) -> None:
    if as_json:
        print_json(plain)
        return
    for table in tables:
        _show(table)
        click.echo()
    for goal in goals:
        click.echo(str(goal))


def _show(table: Table) -> None:
    if not sys.stdout.isatty():
        click.echo(str(table))
        return
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for place, head in enumerate(table.heads):
        shown.add_column(head.replace(" ", "\n"), justify="right" if place else "left", no_wrap=not place)
    for row in table.rows:
        shown.add_row(*map(Text, row))
    click.secho(table.title, bold=True)
    console().print(shown)
    for line in table.notes:
        click.echo(line)


@contextmanager
def _progress(advice: str, *, shown: bool) -> Iterator[Callable[[Progress], None] | None]:
    """Says first how long it will take; then a bar, or now and then a line, on stderr."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    from oche.compare.table import minutes

    columns = (TextColumn("{task.percentage:>3.0f} %"), BarColumn(bar_width=32), TextColumn("{task.fields[about]}"))
    terminal = sys.stderr.isatty()
    with Bar(*columns, console=Console(stderr=True), transient=True, disable=not terminal) as bar:
        task = bar.add_task("", total=1.0, about="")
        began = time.monotonic()
        said = -1.0

        def on_progress(now: Progress) -> None:
            nonlocal said
            spent = time.monotonic() - began
            if said < 0:
                note(f"this takes about {minutes(now.expected)}; {advice}")
                said = spent
            left = spent / now.done * (1 - now.done) if now.done > 0.05 else now.expected * (1 - now.done)
            bar.update(task, completed=now.done, about=f"{now.row}, {minutes(left)} left")
            if not terminal and spent - said >= PAUSE:
                note(f"{now.done:.0%}, {now.row}, about {minutes(left)} left")
                said = spent

        yield on_progress


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise click.BadParameter(
            f"{text!r} are no numbers; write them as 1000003,1000033", param_hint="--numbers"
        ) from None


def _shape(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,12})x(\d{1,12})", text.strip(), re.ASCII)
    if found is None:
        raise click.BadParameter(f"{text!r} is no shape; write ROWSxCOLUMNS, as 1000x80000", param_hint="--shape")
    return int(found[1]), int(found[2])
