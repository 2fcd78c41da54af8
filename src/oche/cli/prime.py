"""`oche prime`: answers at once, with nothing but Python's integers."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any

import click

from oche.cli.options import debug_option, json_option

#: Digits of a number at most: a test of one so long takes seconds.
DIGITS = 2000


def integer(text: Any) -> int:
    """A whole number of up to 2,000 digits from 0 on, also written 1e9 or 10_000_000."""
    try:
        exact = Decimal(text)
    except InvalidOperation:
        raise click.BadParameter(f"{text!r} is not a number; write 1000000, 1_000_000 or 1e6") from None
    # Before any digits are written out: nobody wants those of 1e999999999.
    if not exact.is_finite() or exact < 0 or exact.adjusted() >= DIGITS or exact != int(exact):
        raise click.BadParameter(f"{text!r} is not a whole number from 0 on of up to {DIGITS:,} digits")
    return int(exact)


@click.command()
@click.argument("numbers", type=integer, nargs=-1, required=True, metavar="N...")
@json_option
@debug_option
def prime(numbers: tuple[int, ...], as_json: bool) -> None:
    """Say of each number whether it is prime, and name a small factor.

    Certain below 2**64; above by the Baillie-PSW test, which no known composite passes. For large factors
    there is `oche factor`.
    """
    from oche.algorithms.primality import SMALL, is_prime

    found = []
    for n in numbers:
        factor = next((p for p in SMALL if n > p and n % p == 0), None)
        found.append((n, factor is None and is_prime(n), factor))
    if as_json:
        click.echo(json.dumps([{"n": n, "prime": answer, "factor": factor} for n, answer, factor in found]))
        return
    for n, answer, factor in found:
        if answer or factor is None:
            click.echo(f"{n} is {'prime' if answer else 'not prime'}")
        else:
            click.echo(f"{n} = {factor} * {n // factor}")
