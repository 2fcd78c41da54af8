"""What a broker cannot do is refused, or said once, when it is asked for: a queue file whose driver can do less."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import pytest

import errands
import oche
from farms import Farm, until
from oche.errors import Unsupported
from oche.queues.opening import GROUP, open_queue
from oche.queues.seam import Traits
from oche.queues.sqlite import SQLiteQueue


class PlainQueue(SQLiteQueue):
    """The client's driver; the workers have the usual one."""

    traits: ClassVar[Traits] = replace(SQLiteQueue.traits, delay=False, priority=False, signal=False)

    def signal(self, name: str) -> None:
        raise AssertionError(f"{name}: it was not asked for its traits first")


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Farm]:
    monkeypatch.setenv("OCHE_CONFIG_DIR", str(tmp_path / "config"))
    point = EntryPoint("sqlite", f"{__name__}:PlainQueue", GROUP)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point] if group == GROUP else [])
    farm = Farm("sqlite", tmp_path, slots=1)
    try:
        yield farm
    finally:
        farm.close()


def test_a_delay_is_refused_at_the_call(farm: Farm) -> None:
    later = oche.task(abs, delay=5.0)
    with oche.connect(farm.url) as cluster:
        for ask in (
            lambda: cluster.submit(later, -1),
            lambda: cluster.map(later, [-1]),
            lambda: cluster.imap_unordered(later, [-1]),
            lambda: cluster.reduce(later, range(3), max),
            lambda: cluster.first(later, range(3)),
        ):
            with pytest.raises(Unsupported, match=r"delay=5, and this broker cannot hold a job back"):
                ask()
        with open_queue(farm.url) as queue:
            assert queue.stats("oche.work").ready == 0


def test_a_priority_is_said_once_and_the_answer_is_right(farm: Farm, caplog: pytest.LogCaptureFixture) -> None:
    urgent = oche.task(abs, priority=1)
    with farm.connect() as cluster, caplog.at_level(logging.WARNING, "oche"):
        assert [cluster.submit(urgent, -n).result(60) for n in range(3)] == [0, 1, 2]
        assert list(cluster.map(urgent, [-7])) == [7]
    said = [record.message for record in caplog.records if "priority=1" in record.message]
    assert len(said) == 1
    assert "another order" in said[0]


def test_a_call_that_cannot_be_stopped_runs_to_its_end(farm: Farm, caplog: pytest.LogCaptureFixture) -> None:
    with farm.connect() as cluster, caplog.at_level(logging.WARNING, "oche"):
        assert cluster.submit(abs, -1).result(60) == 1
        for _ in range(2):
            future = cluster.submit(time.sleep, 0.4)
            with open_queue(farm.url) as queue:
                until(lambda queue=queue: queue.stats("oche.work").reserved, "it runs")  # type: ignore[misc]
                assert future.cancel()
                until(lambda queue=queue: not queue.stats("oche.work").reserved, "it has ended")  # type: ignore[misc]
        assert cluster.submit(abs, -2).result(60) == 2
    assert [record.message for record in caplog.records if "cannot be stopped" in record.message] == [
        "on this broker calls that run cannot be stopped; their answers will be dropped"
    ]


def test_nothing_is_said_where_nothing_is_lacking(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    both = oche.task(errands.square, priority=1, delay=0.01)
    with oche.connect("local:", max_workers=1) as cluster, caplog.at_level(logging.WARNING, "oche"):
        assert cluster.submit(both, 3).result(60) == 9
    assert [record.message for record in caplog.records if "broker" in record.message] == []
