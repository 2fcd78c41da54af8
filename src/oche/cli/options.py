"""Options that several verbs share, and the kinds of values they take."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def whole(text: Any) -> int:
    """A whole number that may be written 1e9 or 10_000_000."""
    try:
        exact = Decimal(text)
    except InvalidOperation:
        raise click.BadParameter(f"{text!r} is not a number; write 1000000, 1_000_000 or 1e6") from None
    # Before any digits are written out: nobody wants those of 1e999999999.
    if not exact.is_finite() or abs(exact) > 2**64 or exact != int(exact):
        raise click.BadParameter(f"{text!r} is not a whole number that can be used here; write 1000000 or 1e6")
    return int(exact)


def positive(text: Any) -> int:
    """A whole number from 1 on."""
    if (value := whole(text)) < 1:
        raise click.BadParameter(f"{text!r} is too few; take 1 or more")
    return value


def size(text: Any) -> int:
    """Bytes, also written 512M or 2G (powers of 1024)."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", str(text).strip(), re.IGNORECASE)
    value = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if value < 1:
        raise click.BadParameter(f"{text!r} is not a size; write bytes, or 512M or 2G")
    return value


def url_argument(function: F) -> F:
    """The broker's URL, or `OCHE_URL`."""
    return click.argument("url", envvar="OCHE_URL", metavar="URL")(function)


def cluster_options(function: F) -> F:
    """Where to compute: --on, --workers, --run."""
    for option in (
        click.option(
            "--run", "run_name", metavar="NAME", help="Name the run: started again, it goes on where it stopped."
        ),
        click.option(
            "--workers",
            type=positive,
            metavar="N",
            help="Workers, where the engine starts them (all cores).",
        ),
        click.option("--on", "url", metavar="URL", help="Where to compute (OCHE_URL, else local:)."),
    ):
        function = option(function)
    return function


def json_option(function: F) -> F:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def debug_option(function: F) -> F:
    """--debug: read from the arguments by `main`, and by `log_to_stderr`."""
    return click.option("--debug", is_flag=True, expose_value=False, help="Show where an error came from.")(function)


class _Stderr(logging.Handler):
    """Looks stderr up anew at each line, so that a progress bar can keep out of the way."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def log_to_stderr(level: int, form: str = "oche: %(message)s") -> None:
    """Lets the package's log be seen; for the command line, which owns the process."""
    handler = _Stderr()
    handler.setFormatter(logging.Formatter(form, "%Y-%m-%d %H:%M:%S"))
    log = logging.getLogger("oche")
    log.handlers[:] = [handler]
    log.setLevel(level)
    log.propagate = False


def here_first() -> str:
    """Makes modules of the current folder importable, as they are for `python FILE`; returns the folder."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    return here
