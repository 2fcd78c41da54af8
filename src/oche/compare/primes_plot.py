"""The prime comparison as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oche.compare import plot
from oche.compare.primes import Comparison, Number
from oche.compare.primes_report import BASE, PUBLISHED
from oche.compare.table import seconds

OWN = ("kernel", "kernel-byte", "strong-test", "memory")


def save(found: Comparison, path: Path) -> None:
    """Draws it into the file. Raises as `plot.check_path` does."""
    plot.check_path(path)
    rows = list(found.timings)
    kinds = [("large composites", found.composites), ("primes", found.primes)]
    kinds = [(name, numbers) for name, numbers in kinds if numbers] or [("numbers", list(found.numbers))]
    figure = plot.blank(len(rows))
    for place, (name, numbers) in enumerate(kinds):
        axes = figure.add_subplot(1, len(kinds), place + 1)
        _bars(axes, found, rows, numbers)
        axes.set_title(f"{name}, {found.processes} processes, best of {found.runs} runs")
        if place:
            axes.set_yticklabels([])
    plot.write(figure, path)


def _bars(axes: Any, found: Comparison, rows: Sequence[str], numbers: Sequence[Number]) -> None:
    """One bar a row, in seconds for these numbers together, and a line where the published ratio would put it."""
    taken = [found.seconds(row, numbers) or 0.0 for row in rows]
    colours = ["tab:blue" if row in OWN else "tab:gray" for row in rows]
    plot.bars(axes, rows, taken, [seconds(value) for value in taken], colours)
    axes.set_xscale("log")
    axes.set_xlabel("seconds, less is better (blue: oche's)")
    base = found.seconds(BASE, numbers)
    if base is not None and "local" in rows and (numbers == found.composites or numbers == found.primes):
        faster, more = PUBLISHED["local"]
        at = base / faster if numbers == found.composites else base * (1 + more)
        y = rows.index("local")
        axes.plot([at, at], [y - 0.45, y + 0.45], color="tab:red", label="published, to 'pool', 4 processes")
        axes.legend(loc="lower right", fontsize=7)
    axes.margins(x=0.15, y=0.01)
