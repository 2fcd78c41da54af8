"""A progress bar for an operation: by rich in the terminal, as HTML in a notebook."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from oche.cluster.notebook import NotebookBar, in_notebook


@contextlib.contextmanager
def progress_bar(text: str, total: int | None, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """Gives a function to call with the number of items that were done since the last call."""
    if not shown:
        yield lambda items: None
        return
    if in_notebook():
        notebook_bar = NotebookBar(text, total)
        try:
            yield notebook_bar.advance
        finally:
            notebook_bar.show()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(text, total=total)
        yield lambda items: bar.advance(task, items)
