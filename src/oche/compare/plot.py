"""A comparison as a picture: PNG or SVG, by the file's name. What is drawn is said by `primes_plot`, `engines_plot`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


def blank(rows: int) -> Any:
    """An empty figure of matplotlib's, for so many bars one below the other. It needs no screen."""
    return _figure()(figsize=(WIDTH, 1.6 + BAR * rows), layout="constrained")


def bars(
    axes: Any, names: Sequence[str], values: Sequence[float], texts: Sequence[str], colours: Sequence[str]
) -> None:
    """A bar for each name, from the top down, with its text at its end."""
    axes.barh(range(len(names)), values, color=colours)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    for y, (value, text) in enumerate(zip(values, texts, strict=True)):
        axes.annotate(text, (value, y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7)


def write(figure: Any, path: Path) -> None:
    """Into the file, as its name says."""
    figure.savefig(path, format=path.suffix[1:].lower(), dpi=150)


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ConfigError("a picture needs the package 'matplotlib'; run pip install 'oche[plot]'") from error
    return Figure
