"""`oche key`: the key that signs all messages."""

from __future__ import annotations

import os
import sys

import click

from oche.cli.options import debug_option, json_option
from oche.cli.output import note, print_json


@click.command()
@click.option("--where", is_flag=True, help="Print where the key is kept instead; makes none.")
@json_option
@debug_option
def key(where: bool, as_json: bool) -> None:
    """Print the key that signs jobs and answers; it is made if there is none.

    Every machine of a cluster needs the same. Who has it may run code on all of them.
    """
    from oche.wire.signing import key_file, key_text

    place = "OCHE_KEY" if os.environ.get("OCHE_KEY") else str(key_file())
    if where:
        if as_json:
            print_json({"where": place})
        else:
            click.echo(place)
        return
    text = key_text()
    if as_json:
        print_json({"key": text, "where": place})
        return
    click.echo(text)
    if sys.stderr.isatty():
        note("on each other machine: export OCHE_KEY=<this>; or put it in the file that `oche key --where` tells there")
