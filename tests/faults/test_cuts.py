"""Connections to the broker cut or half-open, on the worker's and on the client's side: the answer is exact."""

from __future__ import annotations

import functools
import operator
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import mischief
import pytest
from roads import Road, Storm

import errands
import oche
from farms import Farm, until
from oche.cluster.executor import Cluster
from oche.errors import Disconnected
from oche.queues.opening import open_queue
from oche.queues.seam import Queue, TubeStats
from oche.testing.faults import Cut, Fault, before, torn, whole
from oche.testing.servers import Server
from oche.wire.names import Farm as Names

NAMES = Names()
#: Seconds in which a load must be done, whatever happens.
BOUND = 60.0
#: All but SQLite, to which nothing is connected.
BROKERS = ["beanstalkd", "redis", "rabbitmq", "gearman", "nsq"]
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


@pytest.fixture(params=BROKERS)
def farm(
    request: pytest.FixtureRequest, make_farm: Callable[..., Farm], shared_server: Callable[[str], Server | None]
) -> Farm:
    return make_farm(request.param, server=shared_server(request.param))


@pytest.fixture
def road(farm: Farm) -> Iterator[Road]:
    with Road(farm) as road:
        yield road
        farm.close()  # first the workers, or they would wait for their broker to come back


def worker_behind(road: Road, farm: Farm, *, slots: int = 2) -> None:
    direct, farm.url = farm.url, road.url
    farm.worker("--slots", str(slots))
    farm.url = direct


def work_through(storm: Storm, cluster: Cluster, road: Road) -> None:
    """Works until every kind of cut has been, for `BOUND` seconds at most."""
    end = time.monotonic() + BOUND
    road.fault = storm
    while storm.missing:
        assert time.monotonic() < end, f"no cut {storm.missing}"
        road.cut()  # others have other faults
        assert work(cluster) == ANSWER
    print(dict(storm.cuts))
    road.fault = whole


def test_a_worker_whose_connections_are_cut(farm: Farm, road: Road, chance: random.Random) -> None:
    worker_behind(road, farm)
    with oche.connect(farm.url) as cluster:
        assert cluster.submit(abs, -1).result(BOUND) == 1
        work_through(Storm(road.words, chance), cluster, road)


def test_a_client_whose_connections_are_cut(farm: Farm, road: Road, chance: random.Random) -> None:
    farm.worker("--slots", "2")
    with oche.connect(road.url) as cluster:
        assert cluster.submit(abs, -1).result(BOUND) == 1
        work_through(Storm(road.words, chance), cluster, road)


def left(queue: Queue, run: str) -> int:
    """Jobs and outcomes that are anywhere in the broker."""
    stats = [queue.stats(tube) for tube in (NAMES.work, NAMES.reply(run))]
    return sum(each.ready + each.reserved + each.delayed + each.buried for each in stats)


def test_an_outcome_sent_twice_is_counted_once(farm: Farm, road: Road) -> None:
    """The first ten deletes are cut off after the outcomes were put: those jobs are run again, and counted once."""
    cut, lock = 0, threading.Lock()
    always = before(road.words.delete, random.Random(0), odds=1.0)

    def fault(data: bytes, request: bool) -> bytes:
        nonlocal cut
        try:
            return always(data, request)
        except Cut:
            with lock:
                cut += 1
                if cut <= 10:
                    raise
            return data

    worker_behind(road, farm)
    # Short jobs are taken several at a time, and one cut loses them all, also one that was answered just before it:
    # some are lost more than three times.
    absolute, square, span_sum = (oche.task(task, crashes=50) for task in (abs, errands.square, errands.span_sum))
    with oche.connect(farm.url) as cluster, open_queue(farm.url) as queue:
        assert cluster.submit(absolute, -1).result(BOUND) == 1
        road.fault = lambda: fault
        road.cut()
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
    assert cut > 10


def test_a_half_open_worker_is_left_behind(farm: Farm, road: Road) -> None:
    """Its connections stand, and nothing passes: a copy of what it holds goes to the other worker."""
    worker_behind(road, farm, slots=1)
    with oche.connect(farm.url) as cluster, open_queue(farm.url) as queue:
        assert cluster.submit(mischief.steady, 1).result(BOUND) == 1
        farm.worker("--slots", "1")
        until(lambda: queue.stats(NAMES.work).watching == 2, "two workers")
        squares = cluster.map(mischief.steady, range(100), chunksize=2)
        assert next(squares) == 0
        road.swallow()
        assert list(squares) == [i * i for i in range(1, 100)]
    road.cut()  # so that it need not find out by itself before it can end


def test_half_open_clients_open_new_connections(
    make_farm: Callable[..., Farm], shared_server: Callable[[str], Server | None], caplog: pytest.LogCaptureFixture
) -> None:
    """On all brokers at the same time, since what takes long is to believe it."""
    with ExitStack() as stack, ThreadPoolExecutor(len(BROKERS)) as pool:
        roads, answers = [], []
        for engine in BROKERS:
            farm = make_farm(engine, server=shared_server(engine))
            farm.worker("--slots", "2")
            roads.append(stack.enter_context(Road(farm)))
            cluster = stack.enter_context(oche.connect(roads[-1].url))
            assert cluster.submit(abs, -1).result(BOUND) == 1
            queue = stack.enter_context(open_queue(farm.url))
            answers.append(pool.submit(work, cluster))
            until(lambda queue=queue: queue.stats(NAMES.work).reserved, "work is under way")
            roads[-1].swallow()
        assert [answer.result(BOUND) for answer in answers] == [ANSWER] * len(BROKERS)
    losses = [record.getMessage() for record in caplog.records if "lost its broker" in record.getMessage()]
    for road in roads:
        assert any(f":{road.port}" in loss for loss in losses), losses


def test_a_line_torn_while_a_queue_is_opened_is_a_lost_one(farm: Farm, road: Road, chance: random.Random) -> None:
    """Neither a password that is wrong nor an answer that is empty, wherever the greeting ends."""
    sizes: list[int] = []

    def counting() -> Fault:
        number = len(sizes)
        sizes.append(0)

        def fault(data: bytes, request: bool) -> bytes:
            sizes[number] += 0 if request else len(data)
            return data

        return fault

    def look() -> TubeStats:
        with open_queue(road.url) as queue:
            return queue.stats("nothing")

    road.fault = counting
    found = look()
    road.fault = lambda: torn(chance.randrange(max(sizes)))
    torn_off = 0
    for _ in range(100):
        try:
            assert look() == found
        except Disconnected:
            torn_off += 1
    assert torn_off > 10
