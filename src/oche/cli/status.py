"""`oche status`: a farm at one moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from oche.cli.options import debug_option, json_option, url_argument
from oche.cli.output import note, print_json, print_table
from oche.cli.session import broker_at

if TYPE_CHECKING:
    from oche.watch.snapshot import Snapshot


@click.command()
@url_argument
@json_option
@debug_option
def status(url: str, as_json: bool) -> None:
    """Show what is on the broker at URL: jobs, workers, runs, and stop signals."""
    from oche.watch.snapshot import snapshot

    with broker_at(url) as (queue, farm):
        seen = snapshot(queue, farm)
    if as_json:
        print_json(seen)
    else:
        _show(seen, url)


def _show(seen: Snapshot, url: str) -> None:
    work = seen.work
    click.secho(f"farm {seen.farm} on {url}", bold=True)
    nodes = f"{len(seen.workers)} worker{'s' * (len(seen.workers) != 1)}, {seen.slots} slots"
    click.echo(
        f"{nodes}, {work.reserved:,} jobs running, {work.ready + work.delayed:,} waiting, {work.buried:,} buried"
    )
    # The tubes of workers and runs have their own tables, and matter here only while they hold something.
    tubes = [tube for tube in seen.tubes if tube is work or tube.ready + tube.reserved + tube.delayed + tube.buried]
    print_table(
        ("tube", "ready", "reserved", "delayed", "buried", "watching", "waiting"),
        [(t.name, t.ready, t.reserved, t.delayed, t.buried, t.watching, t.waiting) for t in tubes],
        apart=True,
    )
    print_table(
        ("worker", "host", "pid", "slots", "connected"),
        [(node.name, node.host, str(node.pid), node.slots, node.connected) for node in seen.workers],
        apart=True,
    )
    print_table(
        ("run", "outcomes", "client"),
        [(run.name, run.outcomes, "there" if run.client else "gone") for run in seen.runs],
        apart=True,
    )
    print_table(("stop signal",), [(name,) for name in seen.signals], apart=True)
    if not seen.slots:
        note(f"no worker is here; start one with `oche worker {url}`")
    if work.buried:
        note(
            f"to see why a job was buried: `oche jobs peek {url} --state buried`; to try again: `oche jobs kick {url}`"
        )
