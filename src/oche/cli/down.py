"""`oche down`: ends what `oche up` started."""

from __future__ import annotations

import click

from oche.cli.options import debug_option
from oche.cli.output import note


@click.command()
@click.argument("engines", nargs=-1, metavar="[ENGINE]...")
@debug_option
def down(engines: tuple[str, ...]) -> None:
    """End the clusters that `oche up` started: those of these kinds, or all."""
    from oche.ops import up
    from oche.servers.kinds import KINDS

    for kind in engines or KINDS:
        if up.stop(kind) is not None:
            note(f"{kind} is down")
        elif engines:
            note(f"{kind} was not up")
