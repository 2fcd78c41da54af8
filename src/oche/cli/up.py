"""`oche up`: a cluster on this machine, for trying."""

from __future__ import annotations

import click

from oche.cli.options import debug_option, json_option, positive
from oche.cli.output import ago, note, print_json, print_table
from oche.worker.cores import usable_cores


@click.command()
@click.argument("engine", required=False)
@click.option("-n", "slots", type=positive, metavar="N", help="Workers (one for each core).")
@json_option
@debug_option
def up(engine: str | None, slots: int | None, as_json: bool) -> None:
    """Start a cluster of kind ENGINE on this machine: its server, its workers; and print its URL.

    It listens on the loopback only, at free ports, and runs until `oche down ENGINE`. There is one of each kind.
    Without ENGINE: list what is up.
    """
    import time

    from oche.ops import up as clusters
    from oche.servers.kinds import KINDS

    if engine is None:
        found = clusters.running()
        if as_json:
            print_json(found)
            return
        rows = [(one.kind, one.url, one.slots, ago(time.time() - one.since)) for one in found]
        print_table(("engine", "URL", "workers", "up for"), rows)
        if not found:
            note(f"nothing is up; `oche up ENGINE` starts one of {', '.join(KINDS)}")
        return
    cluster, before = clusters.start(engine, slots or usable_cores())
    if as_json:
        print_json(cluster)
    else:
        click.echo(cluster.url)
    if before:
        note(f"{engine} was up already, with {cluster.slots} workers; `oche down {engine}` ends it")
