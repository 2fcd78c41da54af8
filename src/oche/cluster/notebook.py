"""What a notebook shows of a cluster and of an operation that runs: HTML, made here, without a library."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from html import escape
from typing import Any

#: Seconds between two updates of a bar.
PACE = 0.1


def html_table(rows: Mapping[str, object]) -> str:
    """Names and values as a table."""
    cells = (f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
    return f"<table>{''.join(cells)}</table>"


def in_notebook() -> bool:
    """Whether this program is a notebook's kernel, which can show a thing and then another in its place."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


class NotebookBar:
    """The progress of one operation, shown as soon as it is made; `advance` is for one thread."""

    def __init__(self, text: str, total: int | None) -> None:
        from IPython.display import display

        self._text, self._total, self._done = text, total, 0
        self._began = self._shown = time.monotonic()
        show: Any = display
        self._handle = show(self, display_id=True)

    def advance(self, items: int) -> None:
        """So many items more are done."""
        self._done += items
        if time.monotonic() - self._shown >= PACE:
            self.show()

    def show(self) -> None:
        """Shows how far it is."""
        self._shown = time.monotonic()
        self._handle.update(self)

    def __repr__(self) -> str:
        of = "" if self._total is None else f"/{self._total}"
        return f"{self._text} {self._done}{of}, {self._shown - self._began:.1f} s"

    def _repr_html_(self) -> str:
        extent = "" if self._total is None else f' value="{self._done}" max="{max(1, self._total)}"'
        return f"<div><progress{extent}></progress> {escape(repr(self))}</div>"
