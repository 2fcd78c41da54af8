"""The broker inside the process."""

from __future__ import annotations

import random
import threading
import time

import pytest

from oche.queues.memory import MemoryQueue
from oche.queues.memory.broker import Broker
from oche.testing.queue_rig import Rig, take, until
from oche.testing.queue_suite import QueueSuite


class TestMemoryQueue(QueueSuite):
    @pytest.fixture
    def rig(self) -> Rig:
        broker = Broker()
        return Rig(open=lambda: MemoryQueue(broker), shortest_lease=0.1)


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class TestMemoryQueueByTheClock(QueueSuite):
    examples = 60

    @pytest.fixture
    def rig(self) -> Rig:
        clock = Clock()
        broker = Broker(clock=clock)
        return Rig(open=lambda: MemoryQueue(broker), advance=clock.advance)


def test_a_blocked_reserve_costs_nothing_until_its_event() -> None:
    # It must wake for the delay, although nobody rings; and only then.
    queue = MemoryQueue()
    queue.put("a", b"late", delay=0.2)
    before = time.thread_time()
    found = queue.reserve(["a"], 15.0)
    assert found is not None
    assert time.thread_time() - before < 0.05


def test_threads_share_a_broker_and_each_job_is_done_once() -> None:
    """Four producers and four consumers, some of which die with jobs in hand."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    broker, done, lock = Broker(), [], threading.Lock()
    jobs = 4000

    def produce(first: int) -> None:
        queue = MemoryQueue(broker)
        for number in range(first, first + jobs // 4):
            queue.put("work", b"%d" % number)

    def consume(place: int) -> None:
        chance = random.Random(f"{seed}/{place}")
        queue = MemoryQueue(broker)
        while True:
            held = queue.reserve(["work"], 15.0)
            assert held is not None
            if held.body == b"stop":
                queue.delete(held)
                return
            if chance.random() < 0.02:
                queue.close()
                queue = MemoryQueue(broker)
                continue
            queue.delete(held)
            with lock:
                done.append(int(held.body))

    threads = [threading.Thread(target=produce, args=(n * jobs // 4,)) for n in range(4)]
    threads += [threading.Thread(target=consume, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(done) >= jobs, "all jobs were done")
    watcher = MemoryQueue(broker)
    for _ in range(4):
        watcher.put("work", b"stop")
    for thread in threads:
        thread.join(15.0)
    assert sorted(done) == list(range(jobs))
    assert watcher.stats("work").reserved == 0


def test_old_entries_of_leases_do_not_pile_up() -> None:
    broker = Broker()
    queue = MemoryQueue(broker)
    for _ in range(20_000):
        queue.put("a", b"")
        queue.delete(take(queue, "a"))
    assert len(broker._events) < 2000
    assert not broker.jobs
