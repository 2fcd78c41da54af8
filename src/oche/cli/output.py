"""How data look on a terminal: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console


def json_text(value: Any) -> str:
    """One line of JSON, made for reading: dataclasses are objects, sets and arrays lists, nan null, the rest texts."""
    import msgspec

    try:
        return msgspec.json.encode(value, enc_hook=_plain).decode()
    except UnicodeEncodeError:  # a file name that is not UTF-8: JSON can escape what it cannot hold
        return json.dumps(msgspec.to_builtins(value, str_keys=True, enc_hook=_plain))


def _plain(value: Any) -> Any:
    """Called for what JSON has no word for; arrays and scalars of numpy know what they are in Python."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def print_json(value: Any) -> None:
    """Prints `json_text(value)`."""
    click.echo(json_text(value))


def note(text: str) -> None:
    """A remark for the person at the keyboard, on stderr."""
    click.echo(f"oche: {text}", err=True)


def console() -> Console:
    """For stdout: colours on a terminal only, and no wrapping elsewhere."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 500)


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, apart: bool = False) -> None:
    """A calm table: numbers to the right, grouped by thousands; texts to the left; nothing where there is no row.

    `apart` puts an empty line before it.
    """
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    if not rows:
        return
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 3, 0, 0))
    for place, head in enumerate(heads):
        number = isinstance(rows[0][place], int)
        table.add_column(head, justify="right" if number else "left", overflow="fold", no_wrap=number)
    for row in rows:
        table.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in row))
    if apart:
        click.echo()
    console().print(table)


def ago(seconds: float) -> str:
    """About how long, in one unit: "40 s", "3 min", "5 h", "12 days"."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
