"""`oche engines`: what a URL can name."""

from __future__ import annotations

from dataclasses import asdict, fields

import click

from oche.cli.options import debug_option, json_option
from oche.cli.output import note, print_json, print_table


@click.command()
@json_option
@debug_option
def engines(as_json: bool) -> None:
    """List what a URL can name, what each can do, and how to get what is missing.

    \b
    here      all workers are this user's, on this machine
    timeout   a call over its time limit is interrupted; else a time limit is refused
    stop      a call that runs is told to stop, and a kernel listens
    kill      a call that does not listen is ended by force; else it runs on, and its answer is dropped
    survives  calls whose process died are run again; else all that is out fails
    output    what calls print comes to the caller; else it goes where the workers' own output goes

    What brokers can do beside that (durable, delay, priority) is in docs/engines.md.
    """
    from oche.engines.listing import listing
    from oche.engines.seam import EngineTraits

    names = [field.name for field in fields(EngineTraits)]
    found = listing()
    if as_json:
        print_json([asdict(engine) for engine in found])
        return
    rows = []
    for engine in found:
        traits = asdict(engine.traits) if engine.traits is not None else {}
        can = [("yes" if traits[name] else "no") if traits else "" for name in names]
        rows.append([f"{engine.scheme}:", *can, "missing" if engine.missing else "ready"])
    print_table(["engine", *names, "library"], rows)
    for engine in found:
        if engine.missing:
            note(engine.missing)
