"""Brokers killed, emptied, paused and drained under load: the answer is exact, and it comes in time."""

from __future__ import annotations

import functools
import operator
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any

import mischief
import pytest

import errands
import oche
from farms import Farm, until
from oche.cluster.executor import Cluster
from oche.errors import Closed, Disconnected, LeaseLost, QueueFull
from oche.queues.beanstalkd import BeanstalkdQueue
from oche.queues.opening import open_queue
from oche.queues.seam import State
from oche.testing.servers import NSQD, Beanstalkd, Gearmand, Redis, Server, missing
from oche.wire.names import Farm as Names

NAMES = Names()
#: Seconds in which a load must be done, whatever happens.
BOUND = 60.0
ANSWER = [[i * i for i in range(60)], [i * i for i in range(300)], sum(range(3000))]


def work(cluster: Cluster) -> list[Any]:
    """Submits, a map and a reduction, all under way together; about two seconds on two slots."""
    steady = functools.partial(mischief.steady, seconds=0.004)
    futures = [cluster.submit(mischief.steady, i) for i in range(60)]
    squares = cluster.map(steady, range(300))
    total = cluster.reduce(errands.slow_span_sum, range(3000), operator.add)
    return [[future.result(BOUND) for future in futures], list(squares), total]


@pytest.fixture
def farm(make_farm: Callable[..., Farm]) -> Farm:
    return make_farm("beanstalkd")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def server_of(farm: Farm, *, binlog: bool) -> Server:
    """The farm's server, started anew without its log if it is not to have one. Gearman and NSQ have none anyway."""
    server = farm.server
    assert server is not None
    if not binlog and not isinstance(server, Gearmand | NSQD):
        assert isinstance(server, Beanstalkd | Redis)
        server.kill()
        if isinstance(server, Beanstalkd):
            server.binlog = None
        else:
            server.data = None
        server.start()
    return server


KEEPING = [
    "beanstalkd, log", "beanstalkd, no log", "redis, log", "redis, no log", "rabbitmq, log", "gearman, no log"
]  # fmt: skip


@pytest.mark.timeout(200)
@pytest.mark.parametrize("setting", KEEPING)
def test_killed_and_started_again_under_load(
    make_farm: Callable[..., Farm], setting: str, chance: random.Random, pool: ThreadPoolExecutor
) -> None:
    engine, _, log = setting.partition(", ")
    farm = make_farm(engine)
    server = server_of(farm, binlog=log == "log")
    most = 1 if engine == "rabbitmq" else 4  # it takes half a minute to start
    with farm.connect() as cluster:
        assert cluster.submit(abs, -1).result(BOUND) == 1
        kills = 0
        while kills < most:
            began = time.monotonic()
            answer = pool.submit(work, cluster)
            while kills < most and not answer.done():
                threading.Event().wait(chance.uniform(0.2, 1.0))
                server.kill()
                threading.Event().wait(chance.uniform(0.0, 0.3))
                server.start()
                kills += 1
            assert answer.result(BOUND) == ANSWER
            print(f"{kills} kills, {time.monotonic() - began:.1f} s")


@pytest.mark.parametrize("engine", ["beanstalkd", "redis", "gearman", "nsq"])
def test_what_an_emptied_broker_forgot_is_put_again_though_jobs_of_others_are_there(
    make_farm: Callable[..., Farm], engine: str
) -> None:
    """The count of jobs in the tube does not show the loss; that the broker lives another life does."""
    farm = make_farm(engine)
    server = server_of(farm, binlog=False)
    with oche.connect(farm.url) as cluster:
        future = cluster.submit(errands.square, 12)
        with open_queue(farm.url) as queue:
            until(lambda: queue.stats(NAMES.work).ready == 1, "the job is put")
        server.kill()
        server.start()
        with open_queue(farm.url) as other:
            for _ in range(5):
                other.put(NAMES.work, b"later", delay=300.0)
            until(lambda: other.stats(NAMES.work).ready == 1, "the job is put again", seconds=15)
        farm.worker("--slots", "1")
        assert future.result(BOUND) == 144


def test_a_call_that_an_emptied_broker_forgot_is_put_again_with_the_rest_of_its_delay(
    make_farm: Callable[..., Farm],
) -> None:
    farm = make_farm("beanstalkd")
    server = server_of(farm, binlog=False)
    with oche.connect(farm.url) as cluster:
        cluster.submit(oche.task(delay=300.0)(errands.square), 12)
        with open_queue(farm.url) as queue:
            until(lambda: queue.stats(NAMES.work).delayed == 1, "the job is put")
        server.kill()
        server.start()
        with open_queue(farm.url) as queue:
            until(lambda: queue.stats(NAMES.work).delayed + queue.stats(NAMES.work).ready, "it is put again")
            assert queue.stats(NAMES.work).ready == 0
        cluster.shutdown(cancel_futures=True)


def test_a_stale_delivery_never_reaches_the_job_that_has_its_id_now() -> None:
    missing("beanstalkd", "greenstalk")
    with Beanstalkd() as server:
        old = BeanstalkdQueue.open(server.url)
        ids = [old.put("t", b"old %d" % i, lease=60) for i in range(3)]
        held = [delivery for _ in ids if (delivery := old.reserve(["t"], 1.0)) is not None]
        assert len(held) == 3
        server.kill()
        server.start()
        with BeanstalkdQueue.open(server.url) as new:
            assert [new.put("t", b"new %d" % i) for i in range(3)] == ids
            first = new.reserve(["t"], 1.0)
            assert first is not None
            for delivery in held:
                for queue, error in ((old, Disconnected), (new, LeaseLost)):
                    for verb in (queue.delete, queue.release, queue.bury, queue.touch):
                        with pytest.raises(error):
                            verb(delivery)
            new.delete_many(held)
            new.delete(first)
            left = [delivery for _ in range(3) if (delivery := new.reserve(["t"], 0.0)) is not None]
            assert [delivery.body for delivery in left] == [b"new 1", b"new 2"]
        old.close()


def test_a_worker_that_holds_a_job_of_the_old_server_ends_none_of_the_new(farm: Farm) -> None:
    server = server_of(farm, binlog=False)
    with farm.connect() as cluster, open_queue(farm.url) as queue:
        assert cluster.submit(abs, -1).result(BOUND) == 1
        running = [cluster.submit(errands.slow_square, i, 1.5) for i in range(2)]
        until(lambda: queue.stats(NAMES.work).reserved == 2, "both slots hold a job")
        server.kill()
        server.start()
        # Ids start over: these take those that the workers hold, in a tube that nobody reserves from.
        with open_queue(farm.url) as other:
            ids = [other.put("elsewhere", b"%d" % i) for i in range(40)]
            assert ids[0] == "1"
            assert [future.result(BOUND) for future in running] == [0, 1]
            assert list(cluster.map(errands.square, range(50))) == [i * i for i in range(50)]
            assert other.stats("elsewhere").ready == 40
            assert [other.reserve(["elsewhere"], 0.0).body for _ in ids] == [b"%d" % i for i in range(40)]  # type: ignore[union-attr]


def test_a_paused_server_costs_time_only(farm: Farm, pool: ThreadPoolExecutor) -> None:
    server = server_of(farm, binlog=False)
    with farm.connect() as cluster:
        assert cluster.submit(abs, -1).result(BOUND) == 1
        answer = pool.submit(work, cluster)
        threading.Event().wait(0.5)
        server.pause()
        try:
            assert not threading.Event().wait(3.0)
            assert not answer.done()
        finally:
            server.resume()
        assert answer.result(BOUND) == ANSWER


def drain(server: Server) -> None:
    """SIGUSR1: from then on every put is refused."""
    import os

    os.kill(server.pid, signal.SIGUSR1)
    with BeanstalkdQueue.open(server.url) as queue:

        def refused() -> bool:
            try:
                queue.put("probe", b"")
            except QueueFull:
                return True
            return False

        until(refused, "the server drains")


def test_a_draining_server_refuses_jobs_by_name_and_a_restart_heals(farm: Farm) -> None:
    server = server_of(farm, binlog=True)
    with farm.connect() as cluster, open_queue(farm.url) as queue:
        assert cluster.submit(abs, -1).result(BOUND) == 1
        running = [cluster.submit(errands.slow_square, i, 0.5) for i in range(2)]
        until(lambda: queue.stats(NAMES.work).reserved == 2, "both slots hold a job")
        drain(server)
        with pytest.raises(QueueFull, match="draining"):
            cluster.submit(errands.square, 3).result(10)
        with pytest.raises(QueueFull, match="draining"):
            list(cluster.map(errands.square, range(10)))
        # The outcomes cannot be put: workers keep them, and the jobs stay theirs.
        assert queue.stats(NAMES.work).reserved == 2
        assert not any(future.done() for future in running)
        server.kill()
        server.start()
        assert [future.result(BOUND) for future in running] == [0, 1]
        assert list(cluster.map(errands.square, range(100))) == [i * i for i in range(100)]


def test_copies_that_a_draining_server_refuses_break_nothing(farm: Farm) -> None:
    """The broker forgets a job and drains before the client has put it again."""
    server = server_of(farm, binlog=False)
    with oche.connect(farm.url) as cluster:
        future = cluster.submit(errands.square, 12)
        with open_queue(farm.url) as thief:
            drain(server)
            job = thief.peek(NAMES.work, State.READY)
            assert job is not None
            assert thief.discard(job.id)
            until(lambda: cluster._desk._refused, "the client was refused")
        assert not future.done()
        server.kill()
        server.start()
        farm.worker("--slots", "1")
        assert future.result(BOUND) == 144


def test_a_client_can_leave_while_its_broker_is_away(
    farm: Farm, pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    server = server_of(farm, binlog=False)
    cluster = farm.connect()
    future = cluster.submit(errands.slow_square, 3, 30.0)
    server.kill()
    blocked = pool.submit(cluster.submit, errands.square, 3)
    until(lambda: "the client lost its broker" in caplog.text, "the second call waits for the broker")
    began = time.monotonic()
    cluster.shutdown(cancel_futures=True)
    assert time.monotonic() - began < 10.0
    for left in (future, blocked.result(10)):
        with pytest.raises((CancelledError, Closed)):
            left.result(1)
    server.start()


def test_a_program_that_ends_does_not_wait_for_ever_for_its_broker(farm: Farm) -> None:
    server = server_of(farm, binlog=True)
    code = (
        "import sys, oche, oche.cluster.executor as e; e.LEAVING = 0.5\n"
        "cluster = oche.connect(sys.argv[1])\n"
        "cluster.submit(abs, -1)\n"
        "print('out', flush=True); sys.stdin.readline()\n"
    )
    command = [sys.executable, "-c", code, server.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "out\n"
        server.kill()
        client.communicate("\n", timeout=30)
        assert client.returncode == 0
