"""What a task asks for by `oche.task(...)`, end to end on every engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import errands
import oche
from farms import Farm, until
from oche.errors import ConfigError, TimedOut


def fails_at_first(path: str, times: int) -> int:
    """Raises so many times, counted in a file, and then says how often it was tried."""
    with open(path, "a") as file:
        file.write("x")
    with open(path) as file:
        tried = len(file.read())
    if tried <= times:
        raise ValueError(f"try {tried}")
    return tried


def test_retries(cluster: oche.Cluster, tmp_path: Path) -> None:
    patient = oche.task(fails_at_first, retries=3)
    calls = [(patient, "a", 2), (patient, "b", 99), (fails_at_first, "c", 1)]
    a, b, c = (cluster.submit(task, str(tmp_path / name), times) for task, name, times in calls)
    assert a.result(30) == 3
    with pytest.raises(ValueError, match="try 4"):
        b.result(30)
    assert (tmp_path / "b").read_text() == "xxxx"
    with pytest.raises(ValueError, match="try 1"):
        c.result(30)


def test_timeout_ends_one_call_and_no_other(cluster: oche.Cluster) -> None:
    hasty = oche.task(time.sleep, timeout=0.3)
    begin = time.monotonic()
    futures = [cluster.submit(hasty, seconds) for seconds in (0.0, 60.0, 0.0)]
    assert futures[0].result(30) is None
    with pytest.raises(TimedOut, match=r"time limit of 0\.3 s"):
        futures[1].result(30)
    assert futures[2].result(30) is None
    assert time.monotonic() - begin < 20


def test_delay(cluster: oche.Cluster) -> None:
    late = oche.task(errands.square, delay=2.0)
    begin = time.monotonic()
    future = cluster.submit(late, 4)
    assert cluster.submit(errands.square, 3).result(30) == 9
    assert not future.done()
    assert future.result(30) == 16
    assert time.monotonic() - begin >= 2.0


@pytest.mark.parametrize("way", ["submit", "map"])
def test_urgent_calls_overtake_others(farm: Farm, one_slot: oche.Cluster, tmp_path: Path, way: str) -> None:
    if farm.engine == "nsq":
        pytest.skip("NSQ knows no priorities")
    log, gate = tmp_path / "log", tmp_path / "gate"
    cluster = one_slot
    blocker = cluster.submit(errands.sleep_and_mark, str(gate), 0.7)
    until((tmp_path / "gate.begun").exists, "the slot is busy")
    idle, urgent = oche.task(errands.log_run, priority=10**9), oche.task(errands.log_run, priority=0)
    if way == "submit":
        futures = [cluster.submit(idle, str(log), 1) for _ in range(3)]
        futures += [cluster.submit(urgent, str(log), 2) for _ in range(3)]
        assert [future.result(30) for future in futures] == [1, 1, 1, 4, 4, 4]
    else:
        slow = cluster.starmap(idle, [(str(log), 1)] * 3, chunksize=1)
        fast = cluster.starmap(urgent, [(str(log), 2)] * 3, chunksize=1)
        assert (list(fast), list(slow)) == ([4, 4, 4], [1, 1, 1])
    assert blocker.result(30) is None
    assert log.read_text().split() == ["2", "2", "2", "1", "1", "1"]


@pytest.fixture
def one_slot(farm: Farm, tmp_path: Path) -> Iterator[oche.Cluster]:
    """A cluster of one slot that works already."""
    own = Farm(farm.engine, tmp_path, slots=1, server=farm.server, name="own")
    try:
        with own.connect() as cluster:
            assert cluster.submit(abs, -1).result(30) == 1
            yield cluster
    finally:
        own.close()


def meet(path: str, comes: bool) -> bool:
    """Makes a file, or waits for it, half a minute at most."""
    if comes:
        Path(path).touch()
    end = time.monotonic() + 30
    while path and not Path(path).exists() and time.monotonic() < end:
        time.sleep(0.01)
    return time.monotonic() < end


def test_calls_that_are_alone_share_no_job(cluster: oche.Cluster, tmp_path: Path) -> None:
    alone = oche.task(meet, alone=True)
    for _ in range(300):  # so short that others would travel together from now on
        assert cluster.submit(alone, "", False).result(30)
    calls = [(str(tmp_path / "a"), False), (str(tmp_path / "a"), True), (str(tmp_path / "b"), False),
             (str(tmp_path / "b"), True)]  # fmt: skip
    assert all(future.result(60) for future in [cluster.submit(alone, *call) for call in calls])
    (tmp_path / "a").unlink()
    assert all(cluster.starmap(alone, calls[:2], chunksize=2))


def test_options_that_cannot_be_right_are_refused_where_they_are_written() -> None:
    with pytest.raises(ConfigError, match="timeout=-1"):
        oche.task(abs, timeout=-1)
    with pytest.raises(ConfigError, match="alone=1"):
        oche.task(abs, alone=1)  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="no option speed"):
        oche.task(abs, speed=3)  # type: ignore[call-overload]
