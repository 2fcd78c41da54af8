"""Connections to the broker cut, half-open or slow, on the worker's and on the client's side: the answer is exact."""

from __future__ import annotations

import functools
import operator
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mischief
import pytest

import errands
import oche
from farms import Farm, until
from oche.cluster.executor import Cluster
from oche.queues.opening import open_queue
from oche.queues.seam import Queue
from oche.testing.faults import Fault, Proxy, amid, before, reply_lost, whole
from oche.wire.names import Farm as Names

NAMES = Names()
#: Seconds in which a load must be done, whatever happens.
BOUND = 60.0
#: Cuts that a connection in trouble must have seen.
CUTS = 5
ANSWER = [[i * i for i in range(60)], [i * i for i in range(200)], sum(range(1500))]


@oche.task(crashes=50)
def span_sum(lo: int, hi: int) -> int:
    """A piece that may lose its connection as often as it likes."""
    return errands.slow_span_sum(lo, hi)


def work(cluster: Cluster) -> list[Any]:
    """Submits, a map and a reduction, all under way together; about a second and a half on two slots."""
    steady = functools.partial(mischief.steady, seconds=0.005)
    futures = [cluster.submit(mischief.steady, i) for i in range(60)]
    squares = cluster.map(steady, range(200), chunksize=5)
    total = cluster.reduce(span_sum, range(1500), operator.add)
    return [[future.result(BOUND) for future in futures], list(squares), total]


@pytest.fixture
def farm(make_farm: Callable[..., Farm]) -> Farm:
    return make_farm("beanstalkd")


@pytest.fixture
def proxy(farm: Farm) -> Iterator[Proxy]:
    assert farm.server is not None
    with Proxy(farm.server.port) as proxy:
        yield proxy
        farm.close()  # first the workers, or they would wait for their broker to come back


def url(proxy: Proxy) -> str:
    return f"beanstalkd://127.0.0.1:{proxy.port}"


def worker_behind(proxy: Proxy, farm: Farm, *, slots: int = 2) -> None:
    direct, farm.url = farm.url, url(proxy)
    farm.worker("--slots", str(slots))
    farm.url = direct


def work_on(cluster: Cluster, proxy: Proxy) -> None:
    """Works as often as it takes to be cut off `CUTS` times."""
    proxy.cut()
    for _ in range(10):
        assert work(cluster) == ANSWER
        if proxy.cuts >= CUTS:
            break
    proxy.fault = whole
    assert proxy.cuts >= CUTS


FAULTS: dict[str, Callable[[random.Random], Fault]] = {
    "before a delete": lambda chance: before(b"delete ", chance, odds=0.3),
    "reply of a put lost": lambda chance: reply_lost(b"put ", chance, odds=0.3),
    "reply of a reserve lost": lambda chance: reply_lost(b"reserve-with-timeout ", chance, odds=0.2),
    "anywhere": lambda chance: amid(chance, 5_000.0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_worker_whose_connections_are_cut(farm: Farm, proxy: Proxy, fault: str, chance: random.Random) -> None:
    worker_behind(proxy, farm)
    with oche.connect(farm.url) as cluster:
        assert cluster.submit(abs, -1).result(BOUND) == 1
        proxy.fault = lambda: FAULTS[fault](chance)
        work_on(cluster, proxy)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_client_whose_connections_are_cut(farm: Farm, proxy: Proxy, fault: str, chance: random.Random) -> None:
    farm.worker("--slots", "2")
    with oche.connect(url(proxy)) as cluster:
        assert cluster.submit(abs, -1).result(BOUND) == 1
        proxy.fault = lambda: FAULTS[fault](chance)
        work_on(cluster, proxy)


def left(queue: Queue, run: str) -> int:
    """Jobs and outcomes that are anywhere in the broker."""
    stats = [queue.stats(tube) for tube in (NAMES.work, NAMES.reply(run))]
    return sum(each.ready + each.reserved + each.delayed + each.buried for each in stats)


def test_an_outcome_sent_twice_is_counted_once(farm: Farm, proxy: Proxy) -> None:
    """Every job's first delete is cut off after its outcome was put: each is run twice, and all is counted once."""
    cut: set[bytes] = set()
    lock = threading.Lock()

    def fault(data: bytes, request: bool) -> bytes:
        if request and data.startswith(b"delete "):
            with lock:
                if len(cut) < 10 and data not in cut:
                    cut.add(data)
                    return before(b"delete ", random.Random(0), odds=1.0)(data, request)
        return data

    worker_behind(proxy, farm)
    # Short jobs are taken several at a time, and one cut loses them all, also one that was answered just before it:
    # some are lost more than three times.
    absolute, square, span_sum = (oche.task(task, crashes=50) for task in (abs, errands.square, errands.span_sum))
    with oche.connect(farm.url) as cluster, open_queue(farm.url) as queue:
        assert cluster.submit(absolute, -1).result(BOUND) == 1
        proxy.fault = lambda: fault
        proxy.cut()
        got: list[int] = []
        futures = [cluster.submit(square, i) for i in range(20)]
        for future in futures:
            future.add_done_callback(lambda done: got.append(done.result()))
        total = cluster.reduce(span_sum, range(100_000), operator.add)
        assert total == sum(range(100_000))
        until(lambda: len(got) == 20, "all calls have an answer")
        assert sorted(got) == [i * i for i in range(20)]
        until(lambda: not left(queue, cluster.run), "duplicates are taken away")
        assert sorted(got) == [i * i for i in range(20)]
    assert len(cut) == 10


def test_a_half_open_worker_is_left_behind(farm: Farm, proxy: Proxy) -> None:
    """Its connections stand, and nothing passes: a copy of what it holds goes to the other worker."""
    worker_behind(proxy, farm, slots=1)
    with oche.connect(farm.url) as cluster, open_queue(farm.url) as queue:
        assert cluster.submit(mischief.steady, 1).result(BOUND) == 1
        farm.worker("--slots", "1")
        until(lambda: queue.stats(NAMES.work).watching == 2, "two workers")
        squares = cluster.map(mischief.steady, range(100), chunksize=2)
        assert next(squares) == 0
        proxy.swallow()
        assert list(squares) == [i * i for i in range(1, 100)]
    proxy.cut()  # so that it need not find out by itself before it can end


def test_a_half_open_client_opens_new_connections(farm: Farm, proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    farm.worker("--slots", "2")
    with oche.connect(url(proxy)) as cluster, ThreadPoolExecutor(1) as pool, open_queue(farm.url) as queue:
        assert cluster.submit(abs, -1).result(BOUND) == 1
        answer = pool.submit(work, cluster)
        until(lambda: queue.stats(NAMES.work).reserved, "work is under way")
        proxy.swallow()
        assert answer.result(BOUND) == ANSWER
    assert "lost its broker" in caplog.text
