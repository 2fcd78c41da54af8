"""Results that nobody holds any more: their jobs are called off, whoever collects them, and wherever."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import errands
import oche
from farms import until


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def begin_and_drop(cluster: oche.Cluster, path: Path) -> None:
    """Leaves a map half-way, in a cycle that only the garbage collector can take apart."""
    results = cluster.map(errands.sleep_and_mark, [str(path / "a"), str(path / "b")], [0.0, 60.0], chunksize=1)
    cycle: list[object] = [results]
    cycle.append(cycle)
    assert next(results) is None


def test_the_collector_may_come_inside_of_any_verb(cluster: oche.Cluster, tmp_path: Path, no_collector: None) -> None:
    desk = cluster._desk
    begin_and_drop(cluster, tmp_path)
    until((tmp_path / "b.begun").exists, "the second call runs")
    collected = threading.Event()

    def collect() -> None:
        gc.collect()
        collected.set()

    with desk._sending, desk._lock:  # as in the midst of what another thread has with the broker
        collector = threading.Thread(target=collect, daemon=True)
        collector.start()
        assert collected.wait(5.0), "the collector waits for a lock"
    began = time.monotonic()
    assert cluster.submit(errands.square, 12).result(30) == 144
    until(lambda: not desk.outstanding, "the dropped call is called off")
    assert list(cluster.map(errands.square, range(20), chunksize=1)) == [x * x for x in range(20)]
    assert time.monotonic() - began < 20
    assert not (tmp_path / "b").exists()


def test_an_error_calls_off_what_is_behind_it(cluster: oche.Cluster, no_collector: None) -> None:
    with pytest.raises(ValueError, match="bad 0"):
        list(cluster.map(errands.fail_on, range(200), [0] * 200, chunksize=1))
    assert not cluster._desk.outstanding
