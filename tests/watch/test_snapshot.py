"""`snapshot` against a broker in this process, whose state the test makes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import FrozenInstanceError

import pytest

from oche.queues.memory import MemoryQueue
from oche.queues.seam import Queue
from oche.watch.snapshot import Node, Run, Tube, snapshot
from oche.wire.names import Farm

FARM = Farm("night")


@pytest.fixture
def queue() -> Iterator[Queue]:
    with MemoryQueue() as queue:
        yield queue


def test_an_empty_broker(queue: Queue) -> None:
    seen = snapshot(queue, FARM)
    nothing = Tube(name="night.work", ready=0, reserved=0, delayed=0, buried=0, watching=0, waiting=0)
    assert (seen.work, seen.tubes) == (nothing, (nothing,))
    assert (seen.workers, seen.runs, seen.signals, seen.slots, seen.jobs) == ((), (), (), 0, 0)


def test_counts_of_the_work_tube(queue: Queue) -> None:
    for number in range(6):
        queue.put(FARM.work, b"%d" % number)
    queue.put(FARM.work, b"later", delay=3600.0)
    with queue.clone() as worker:
        held = worker.reserve([FARM.work], 0.0)
        buried = worker.reserve([FARM.work], 0.0)
        assert held is not None
        assert buried is not None
        worker.bury(buried)
        seen = snapshot(queue, FARM)
    assert seen.work == Tube(name="night.work", ready=4, reserved=1, delayed=1, buried=1, watching=1, waiting=0)
    assert (seen.jobs, seen.slots) == (6, 1)


def test_workers_are_read_from_their_tubes(queue: Queue) -> None:
    with queue.clone() as first, queue.clone() as second, queue.clone() as odd:
        for slot in (first, second):
            slot.reserve([FARM.work, FARM.node("lab-3.4711.8")], 0.0)
        odd.reserve([FARM.node("strange")], 0.0)
        seen = snapshot(queue, FARM)
    assert seen.workers == (
        Node(name="lab-3.4711.8", host="lab-3", pid=4711, slots=8, connected=2),
        Node(name="strange", host="strange", pid=0, slots=0, connected=1),
    )
    assert seen.slots == 2


def test_runs_are_read_from_their_tubes(queue: Queue) -> None:
    with queue.clone() as client:
        client.reserve([FARM.reply("_77")], 0.0)
        queue.put(FARM.reply("weekly"), b"answer")
        seen = snapshot(queue, FARM)
    assert seen.runs == (
        Run(name="_77", named=False, outcomes=0, client=True),
        Run(name="weekly", named=True, outcomes=1, client=False),
    )


def test_signals_and_other_farms(queue: Queue) -> None:
    queue.signal(FARM.stop_job("abc-1"))
    queue.signal(FARM.stop_run("_77"))
    queue.signal(Farm("day").stop_job("abc-2"))
    queue.put(Farm("day").work, b"not ours")
    queue.put(Farm("night2").work, b"not ours")
    queue.put(Farm("night2").reply("x"), b"not ours")
    seen = snapshot(queue, FARM)
    assert seen.signals == ("abc-1", "run._77")
    assert (seen.jobs, seen.runs) == (0, ())


def test_it_is_frozen(queue: Queue) -> None:
    seen = snapshot(queue, FARM)
    with pytest.raises(FrozenInstanceError):
        seen.farm = "day"  # type: ignore[misc]
