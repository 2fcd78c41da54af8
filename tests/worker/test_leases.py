"""Real brokers: leases renewed under a job that holds the GIL, brokers that go away, limits on size; drains."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import worker_chores as chores
from worker_bench import Bench, alive, eventually

from farms import Farm
from oche.errors import QueueError
from oche.queues.memory import MemoryQueue
from oche.queues.opening import open_queue
from oche.queues.seam import Delivery, Queue
from oche.testing.servers import Beanstalkd, Server, missing
from oche.wire.outcome import Cause, Failure


def beanstalkd_queue(url: str) -> Queue:
    from oche.queues.beanstalkd import BeanstalkdQueue

    return BeanstalkdQueue.open(url)


@pytest.fixture(params=["sqlite", "beanstalkd", "redis", "rabbitmq", "gearman", "nsq"])
def broker(
    request: pytest.FixtureRequest, tmp_path: Path, shared_server: Callable[[str], Server | None]
) -> Iterator[tuple[Queue, float, float]]:
    """A queue, the shortest lease it can tell, and how long a job is to last."""
    farm = Farm(request.param, tmp_path, server=shared_server(request.param))
    try:
        with open_queue(farm.url) as queue:
            # nsqd gives away after 3 s what it hears nothing of, whatever the lease.
            yield queue, *{"beanstalkd": (1.0, 3.0), "nsq": (0.2, 4.0)}.get(farm.engine, (0.2, 2.0))
    finally:
        farm.close()


def test_a_job_of_many_leases_that_holds_the_gil_runs_once(tmp_path: Path, broker: tuple[Queue, float, float]) -> None:
    queue, lease, seconds = broker
    path = tmp_path / "ran"
    with Bench(queue, slots=2) as bench:  # the second slot would take it
        job = bench.job(chores.hold_the_gil_marked, [(str(path), seconds)], lease=lease)
        bench.put(job, lease=lease)
        assert bench.collect(job) == [seconds]
        assert path.read_text().splitlines() == ["x"]
        bench.settled()
        assert len(bench.outcomes) == 1
        assert bench.one(chores.add, 1, 2) == 3


def test_crashes_retries_and_signals_on_a_real_broker(tmp_path: Path, broker: tuple[Queue, float, float]) -> None:
    with Bench(broker[0], slots=2) as bench:
        values = bench.do(chores.die_silently, [(str(tmp_path / "a"), x) for x in range(10, 16)])
        assert [v for v in values if not isinstance(v, Failure)] == [10, 11, 12, 14, 15]
        assert (values[3].cause, values[3].attempts) == (Cause.CRASHED, 3)
        assert bench.one(chores.fail_until, str(tmp_path / "b"), 2, retries=1) == 2
        job = bench.job(chores.poll_the_byte, [(str(tmp_path / "c"), 60)])
        bench.put(job)
        eventually((tmp_path / "c").exists)
        bench.queue.signal(bench.farm.stop_job(job.id))
        assert bench.collect(job)[0].cause is Cause.CANCELLED
        bench.settled(buried=1)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Beanstalkd]:
    missing("beanstalkd", "greenstalk")
    with Beanstalkd(tmp_path / "binlog", fsync=0.0) as server:
        yield server


def test_a_broker_that_dies_under_a_job_loses_nothing(tmp_path: Path, server: Beanstalkd) -> None:
    path = tmp_path / "ran"
    with Bench(beanstalkd_queue(server.url), slots=2) as bench:
        job = bench.job(chores.poll_the_byte, [(str(path), 1.0)])
        bench.put(job)
        eventually(path.exists)
        server.kill()
        server.start()
        bench.reopen()
        assert bench.collect(job) == ["not stopped"]
        bench.settled()


def test_a_broker_that_drains_keeps_no_outcome_from_its_caller(tmp_path: Path, server: Beanstalkd) -> None:
    path = tmp_path / "ran"
    with Bench(beanstalkd_queue(server.url)) as bench:
        job = bench.job(chores.poll_the_byte, [(str(path), 0.5)])
        bench.put(job)
        eventually(path.exists)
        os.kill(server.pid, signal.SIGUSR1)  # it takes no more puts, until it is started again
        time.sleep(1.0)  # the job ends within, and its outcome finds no room
        assert bench.worker.busy == 0
        server.kill()
        server.start()
        bench.reopen()
        assert bench.collect(job) == ["not stopped"]
        bench.settled()


def test_outcomes_over_the_limit_come_in_parts() -> None:
    missing("beanstalkd", "greenstalk")
    with Beanstalkd(max_job_size=6000) as server, Bench(beanstalkd_queue(server.url)) as bench:
        sizes = [500] * 30 + [7000] + [500]
        values = bench.do(chores.big, [(size,) for size in sizes])
        assert [len(v) for v in values if isinstance(v, str)] == [500] * 31
        failure = values[30]
        assert failure.cause is Cause.UNSENDABLE
        assert "7,0" in failure.message
        assert "-z" in failure.message
        assert len(bench.outcomes) > 3
        assert bench.one(chores.whisper, "y" * 4500).startswith("yyy")  # what it printed has to give way
        long = bench.failure(chores.fail_at_length, 9000)
        assert long.cause is Cause.RAISED
        assert "cut to fit" in long.message
        bench.settled()


def test_a_drain_lets_the_running_job_end(tmp_path: Path) -> None:
    path = tmp_path / "ran"
    with Bench() as bench:
        running, waiting = bench.job(chores.poll_the_byte, [(str(path), 0.5)]), bench.job(chores.add, [(1,)])
        bench.put(running)
        bench.put(waiting)
        eventually(path.exists)
        bench.worker.drain(30.0)
        assert bench.collect(running) == ["not stopped"]
        assert bench.worker.join(5.0)
        assert bench.queue.stats(bench.farm.work).ready == 1


@pytest.mark.parametrize("how", ["drain", "stop"])
def test_what_cannot_end_in_time_is_handed_back(tmp_path: Path, how: str) -> None:
    path = tmp_path / "ran"
    queue = MemoryQueue()
    with Bench(queue.clone()) as bench:
        pid = bench.one(chores.whoami, 0)
        job = bench.job(chores.poll_the_byte, [(str(path), 60.0)])
        bench.put(job)
        eventually(path.exists)
        began = time.monotonic()
        if how == "drain":
            bench.worker.drain(0.3)
        else:
            bench.worker.stop()
        assert bench.worker.join(5.0)
        assert time.monotonic() - began < 3
        eventually(lambda: not alive(pid))
        stats = queue.stats(bench.farm.work)
        assert (stats.ready, stats.reserved) == (1, 0)
        delivery = queue.reserve([bench.farm.work], 1.0)
        assert delivery is not None
        assert queue.attempts(delivery) == 1


def test_an_idle_worker_ends_at_once_and_leaves_no_child() -> None:
    with Bench(slots=2) as bench:
        pids = {bench.one(chores.whoami, 0) for _ in range(20)}
        began = time.monotonic()
        bench.worker.drain()
        assert bench.worker.join(5.0)
        assert time.monotonic() - began < 2
        assert not any(alive(pid) for pid in pids)


class Grumpy(MemoryQueue):
    """A broker that refuses the first touch with an error that nobody foresaw."""

    refused = 0

    def touch(self, delivery: Delivery) -> None:
        if type(self).refused == 0:
            type(self).refused += 1
            raise QueueError("not today")
        super().touch(delivery)


def test_after_an_error_nobody_foresaw_no_job_gets_the_value_of_another() -> None:
    Grumpy.refused = 0
    with Bench(Grumpy()) as bench:
        jobs = [bench.job(chores.nap, [(seconds,)], lease=0.3) for seconds in (0.5, 0.01, 0.02, 0.03)]
        for job in jobs:
            bench.put(job, lease=0.3)
        assert [bench.collect(job) for job in jobs] == [[0.5], [0.01], [0.02], [0.03]]
        assert Grumpy.refused == 1
        bench.settled()


def test_a_lost_worker_counts_and_splits(tmp_path: Path) -> None:
    """A job of many calls whose worker was lost goes on call by call; one that lost three is given up."""
    queue = MemoryQueue()
    with Bench(queue.clone(), start=False) as bench:
        many = bench.job(chores.add, [(i,) for i in range(5)])
        lost = bench.job(chores.add, [(1,)])
        for job in (many, lost):
            bench.put(job)
        for times in range(3):
            broken = queue.clone()
            got = broken.reserve_many([bench.farm.work], 2, 0.0)
            assert len(got) == 2, times
            broken.close()  # as when a worker dies: its jobs are ready again
        bench.worker.start()
        failure = bench.collect(lost)[0]
        assert (failure.cause, failure.attempts) == (Cause.CRASHED, 3)
        assert "lost its worker 3 times" in failure.message
        assert bench.collect(many) == list(range(5))
        assert len(bench.outcomes) == 6
        bench.settled(buried=1)
