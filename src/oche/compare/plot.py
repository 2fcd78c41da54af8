"""The prime comparison as a picture: PNG, SVG, or what else matplotlib writes by the file's name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oche.compare.primes import Comparison, Number
from oche.compare.primes_report import BASE, PUBLISHED
from oche.compare.table import seconds
from oche.errors import ConfigError

SUFFIXES = (".png", ".svg")
#: Inches of a bar's height, and of the whole width.
BAR, WIDTH = 0.34, 11.0


def check_path(path: Path) -> None:
    """Raises `ConfigError`, before anything is measured, where no picture can be written to that path."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{path} is no name for a picture; take one that ends with {' or '.join(SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"{path.absolute().parent} is no folder; make it, or write the picture elsewhere")
    _figure()


def save(found: Comparison, path: Path) -> None:
    """Draws it into the file. Raises as `check_path` does."""
    check_path(path)
    rows = list(found.timings)
    kinds = [("large composites", found.composites), ("primes", found.primes)]
    kinds = [(name, numbers) for name, numbers in kinds if numbers] or [("numbers", list(found.numbers))]
    figure = _figure()(figsize=(WIDTH, 1.6 + BAR * len(rows)), layout="constrained")
    for place, (name, numbers) in enumerate(kinds):
        axes = figure.add_subplot(1, len(kinds), place + 1)
        _bars(axes, found, rows, numbers)
        axes.set_title(f"{name}, {found.processes} processes, best of {found.runs} runs")
        if place:
            axes.set_yticklabels([])
    figure.savefig(path, format=path.suffix[1:].lower(), dpi=150)


def _bars(axes: Any, found: Comparison, rows: Sequence[str], numbers: Sequence[Number]) -> None:
    """One bar a row, in seconds for these numbers together, and a line where the published ratio would put it."""
    taken = [found.seconds(row, numbers) or 0.0 for row in rows]
    own = {"kernel", "kernel-byte", "strong-test", "memory"}
    colours = ["tab:blue" if row in own else "tab:gray" for row in rows]
    axes.barh(range(len(rows)), taken, color=colours)
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("seconds, less is better (blue: oche's)")
    for y, value in enumerate(taken):
        axes.annotate(seconds(value), (value, y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7)
    base = found.seconds(BASE, numbers)
    if base is not None and "local" in rows and (numbers == found.composites or numbers == found.primes):
        faster, more = PUBLISHED["local"]
        at = base / faster if numbers == found.composites else base * (1 + more)
        y = rows.index("local")
        axes.plot([at, at], [y - 0.45, y + 0.45], color="tab:red", label="published, to 'pool', 4 processes")
        axes.legend(loc="lower right", fontsize=7)
    axes.margins(x=0.15, y=0.01)


def _figure() -> Any:
    """matplotlib's Figure, by itself: it needs no screen."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ConfigError("a picture needs the package 'matplotlib'; run pip install 'oche[plot]'") from error
    return Figure
