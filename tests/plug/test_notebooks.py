"""What a notebook shows: a cluster as a table, and progress that is alive."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import errands
import oche
from farms import until
from oche.cluster.notebook import in_notebook
from oche.testing.servers import missing

CELL = """
import oche
cluster = oche.connect("local:", max_workers=2)
cluster.submit(abs, -1).result(30)
cluster
"""
BAR = "list(cluster.map(lambda x: __import__('time').sleep(0.02) or x, range(60), progress=True))[-1]"
AWAIT = "print(await cluster.submit(abs, -5), [x async for x in cluster.map(abs, range(-2, 0))])"


@pytest.fixture(scope="module")
def cluster() -> Iterator[oche.Cluster]:
    with oche.connect("local:", max_workers=2) as cluster:
        yield cluster


def test_a_cluster_as_a_table(cluster: oche.Cluster) -> None:
    first = cluster.submit(errands.square, 2)
    assert first.result(30) == 4
    futures = [cluster.submit(errands.spin, 60.0) for _ in range(3)]
    shown = cluster._repr_html_()
    assert "<th>cluster</th><td>local:</td>" in shown
    assert "<th>slots</th><td>2</td>" in shown
    assert "<th>run</th>" not in shown
    assert f"<th>workers that answered</th><td>{first.worker.partition('/')[0]}<" in shown
    assert f"jobs out: {cluster._desk.outstanding}" in repr(cluster)
    for future in futures:
        future.cancel()
    until(lambda: "<th>jobs out</th><td>0</td>" in cluster._repr_html_(), "no job is out")


def test_names_are_escaped_and_passwords_left_out(cluster: oche.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "url", "redis://me:secret@host/<b>")
    for shown in (cluster._repr_html_(), repr(cluster)):
        assert "secret" not in shown
        assert "redis://host/" in shown
    assert "<b>" not in cluster._repr_html_()


def test_nobody_takes_a_program_for_a_notebook() -> None:
    assert not in_notebook()
    missing(package="IPython")
    code = "import oche.cluster.notebook as n, IPython; print(n.in_notebook())"
    assert subprocess.check_output([sys.executable, "-W", "ignore", "-c", code], text=True).strip() == "False"


@pytest.fixture(scope="module")
def cells() -> list[list[Any]]:
    """The outputs of the cells above, in a kernel, with all that was shown in the place of something else."""
    missing(package="nbclient")
    missing(package="ipykernel")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import nbformat
        from nbclient import NotebookClient

        updates: list[Any] = []

        class Watching(NotebookClient):
            def process_message(self, message: Any, cell: Any, index: int) -> Any:
                if message["msg_type"] in ("display_data", "update_display_data"):
                    updates.append(message["content"]["data"])
                return super().process_message(message, cell, index)

        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in (CELL, BAR, AWAIT)])
        notebook.cells.append(nbformat.v4.new_code_cell("cluster.shutdown()"))
        asyncio.run(Watching(notebook, timeout=60).async_execute())
    return [list(cell.outputs) for cell in notebook.cells] + [updates]


def test_a_kernel_shows_the_table(cells: list[list[Any]]) -> None:
    (shown,) = cells[0]
    assert "<th>slots</th><td>2</td>" in shown["data"]["text/html"]
    assert shown["data"]["text/plain"].startswith("<oche cluster local:, slots: 2")


def test_progress_lives_in_a_kernel(cells: list[list[Any]]) -> None:
    bar, value = cells[1]
    assert value["data"]["text/plain"] == "59"
    assert 'value="60" max="60"' in bar["data"]["text/html"]
    assert "60/60" in bar["data"]["text/plain"]
    updates = cells[-1]
    assert 'value="0" max="60"' in updates[0]["text/html"]
    assert len(updates) >= 4


def test_a_kernel_awaits(cells: list[list[Any]]) -> None:
    (printed,) = cells[2]
    assert printed["text"] == "5 [2, 1]\n"
