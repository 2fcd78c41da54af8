"""What a comparison has to show: a table with its remarks, as plain data, and figures in units for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """The first column is text, at the left; the others are figures, at the right."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()  #: sentences below the table

    def __str__(self) -> str:
        lines = [self.heads, *self.rows]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.heads))]
        text = [self.title]
        for line in lines:
            cells = [line[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
            text.append("   ".join(cells).rstrip())
        return "\n".join([*text, *self.notes])


@dataclass(frozen=True)
class Goal:
    """What was wanted and whether it was reached; None where this run does not say."""

    text: str
    reached: bool | None

    def __str__(self) -> str:
        return f"{'not measured' if self.reached is None else 'yes' if self.reached else 'NO'}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a comparison is."""

    done: float  #: 0 .. 1
    expected: float  #: seconds that all takes, guessed
    row: str  #: of the table: whose turn it is


def seconds(value: float) -> str:
    """A time with three digits: "1.23 s", "45.6 ms", "789 ns"."""
    for unit, one in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= 0.9995 * one:
            return f"{value / one:,.0f} {unit}" if value >= 99.95 * one else f"{value / one:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def minutes(value: float) -> str:
    """A long time, roughly: "40 s", "35 min"."""
    return f"{value / 60:.0f} min" if value >= 120 else f"{value:.0f} s"


def size(value: float) -> str:
    """Bytes, in powers of 1,000: "6.40 GB", "512 kB"."""
    for unit, power in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= power:
            return f"{value / power:.2f} {unit}"
    return f"{value:.0f} B"
