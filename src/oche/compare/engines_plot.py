"""The engines as a picture: what they do in a second, and what they take, side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from oche.compare import plot
from oche.compare.engines import Comparison, Engine
from oche.compare.engines_report import killed, rate, title
from oche.compare.table import seconds, size

Panel = tuple[str, bool, Callable[[Engine], float | None], Callable[[float], str]]

#: The best of each panel, and the others.
BEST, OTHER = "tab:blue", "tab:gray"
#: Times that the best may be better before bars are drawn by their logarithm.
FAR = 30.0
#: Characters of a line below the panels.
WIDTH = 190


def save(found: Comparison, path: Path) -> None:
    """Draws those that are here into the file. Raises as `plot.check_path` does."""
    plot.check_path(path)
    engines = [engine for engine in found.engines if not engine.figures.missing]
    panels = [panel for panel in _panels(found) if any(panel[2](engine) for engine in engines)]
    figure = plot.blank(2 * len(engines) + 3)
    across = max(1, -(-len(panels) // 2))
    for place, panel in enumerate(panels):
        axes = figure.add_subplot(2, across, place + 1)
        _bars(axes, engines, panel)
        if place % across:
            axes.set_yticklabels([])
    figure.suptitle(f"{found.workers} workers on {found.cores} cores", fontsize=11)
    fates = "; ".join(f"{title(engine)}: {killed(engine)}" for engine in engines)
    figure.supxlabel(textwrap.fill(f"A worker killed: {fates}", WIDTH), fontsize=7)
    plot.write(figure, path)


def _bars(axes: Any, engines: Sequence[Engine], panel: Panel) -> None:
    head, more, value, show = panel
    values = [value(engine) or 0.0 for engine in engines]
    known = [value for value in values if value]
    best = (max if more else min)(known)
    texts = [show(value) if value else "-" for value in values]
    plot.bars(axes, [*map(title, engines)], values, texts, [BEST if value == best else OTHER for value in values])
    scale = "linear"
    if max(known) > FAR * min(known):
        axes.set_xscale("log")
        scale = "logarithmic"
    axes.set_title(f"{head} ({'more' if more else 'less'} is better; {scale})", fontsize=8)
    axes.xaxis.set_visible(False)  # the texts say it
    axes.tick_params(labelsize=8)
    axes.margins(x=0.3)


def _panels(found: Comparison) -> list[Panel]:
    """Head, whether more is better, the figure, and how it is told."""
    return [
        ("calls/s one by one", True, lambda engine: engine.figures.one_by_one, rate),
        ("calls/s batched", True, lambda engine: engine.figures.batched, rate),
        (f"speed-up, {found.task}", True, found.speed_up, "{:.2f}".format),
        ("round trip", False, lambda engine: engine.figures.round_trip, seconds),
        ("start", False, lambda engine: engine.figures.start, seconds),
        ("memory of all that was started", False, lambda engine: engine.figures.memory, size),
    ]
