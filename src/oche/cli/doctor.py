"""`oche doctor`: what is so, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from oche.cli.options import debug_option, json_option
from oche.cli.output import print_json

if TYPE_CHECKING:
    from oche.ops.finding import Diagnosis

_COLORS = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "red"}
_CODES = {"ok": 0, "note": 0, "warning": 4, "error": 1}


@click.command()
@click.argument("url", envvar="OCHE_URL", metavar="[URL]", default="local:")
@json_option
@debug_option
def doctor(url: str, as_json: bool) -> None:
    """Look at the broker or engine at URL, its workers and this machine; say what is not well, and the remedy.

    Tells whether the broker answers, how fast, and is new enough; what a power cut may lose with its settings; its
    limits; who reaches it; what the workers run and whether they have the same key; jobs that were set aside; the
    clocks; the disk. It changes nothing. Without URL: OCHE_URL, else local:.

    \b
    Exit codes:  0 all is well, or there are notes    4 a warning
                 1 an error    3 no broker answers
    """
    from oche.ops.doctor import diagnose

    found = diagnose(url)
    if as_json:
        print_json({"url": found.url, "worst": found.worst, "findings": found.findings})
    else:
        _show(found)
    click.get_current_context().exit(_CODES[found.worst] if found.reachable else 3)


def _show(found: Diagnosis) -> None:
    click.secho(found.url, bold=True)
    for finding in found.findings:
        mark = click.style(f"{finding.severity:<8}", fg=_COLORS[finding.severity])
        click.echo(f"{mark} {click.style(f'{finding.topic:<11}', dim=True)}{finding.text}")
        if finding.remedy:
            click.echo(f"{'':<20}-> {finding.remedy}")
