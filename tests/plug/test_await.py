"""asyncio: a Future is awaited as it is, and results come by `async for`."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

import errands
import oche
from farms import BOUND, until

T = TypeVar("T")


@pytest.fixture(scope="module")
def cluster() -> Iterator[oche.Cluster]:
    with oche.connect("local:", max_workers=2) as cluster:
        yield cluster


def run(work: Callable[[], Awaitable[T]]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(BOUND):
            return await work()

    return asyncio.run(bounded())


def test_calls_are_awaited(cluster: oche.Cluster) -> None:
    async def work() -> tuple[int, list[int], set[int]]:
        one = await cluster.submit(errands.square, 3)
        many = await asyncio.gather(*(cluster.submit(errands.square, i) for i in range(500)))
        futures = [cluster.submit(errands.square, i) for i in range(20)]
        return one, many, {await done for done in asyncio.as_completed(futures)}

    one, many, completed = run(work)
    assert one == 9
    assert many == [i * i for i in range(500)]
    assert completed == {i * i for i in range(20)}


def test_an_error_is_raised_where_it_is_awaited(cluster: oche.Cluster) -> None:
    async def work() -> None:
        await cluster.submit(errands.fail, "oops")

    with pytest.raises(ValueError, match="oops"):
        run(work)


def test_the_loop_goes_on_meanwhile(cluster: oche.Cluster) -> None:
    async def work() -> tuple[int, int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        ticking = asyncio.create_task(tick())
        total = 0
        async for value in cluster.map(errands.slow_square, range(30)):
            total += value
        ticking.cancel()
        return total, ticks

    total, ticks = run(work)
    assert total == sum(i * i for i in range(30))
    assert ticks > 30


def test_a_cancelled_task_calls_its_call_off(cluster: oche.Cluster) -> None:
    async def work() -> bool:
        future = cluster.submit(errands.spin, 60.0)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(future, 0.2)
        return future.cancelled()

    began = time.monotonic()
    assert run(work)
    assert cluster.submit(errands.square, 2).result(30) == 4
    assert time.monotonic() - began < 20


def test_results_come_in_their_order_or_as_they_are(cluster: oche.Cluster) -> None:
    async def work() -> tuple[list[int], list[int], list[int]]:
        mapped = [x async for x in cluster.map(errands.square, range(3000))]
        starred = [x async for x in cluster.starmap(errands.add, [(1, 2), (3, 4)])]
        return mapped, starred, [x async for x in cluster.imap_unordered(errands.square, range(100))]

    mapped, starred, unordered = run(work)
    assert mapped == [i * i for i in range(3000)]
    assert starred == [3, 7]
    assert sorted(unordered) == [i * i for i in range(100)]


def test_an_error_ends_the_results(cluster: oche.Cluster) -> None:
    found = []

    async def work() -> None:
        async for x in cluster.map(lambda x: 6 // x, [3, 2, 1, 0, 5], chunksize=1):
            found.append(x)

    with pytest.raises(ZeroDivisionError):
        run(work)
    assert found == [2, 3, 6]


def test_endless_results_end_with_their_reader(cluster: oche.Cluster) -> None:
    async def work() -> list[int]:
        found = []
        async for x in cluster.map(errands.square, itertools.count()):
            found.append(x)
            if x == 100:
                break
        return found

    assert run(work) == [i * i for i in range(11)]
    until(lambda: cluster._desk.outstanding == 0, "the rest is called off")
    assert cluster.submit(errands.square, 5).result(30) == 25


def test_a_cancelled_reader_is_free_at_once(cluster: oche.Cluster) -> None:
    async def read() -> None:
        async for _ in cluster.map(errands.spin, [1.5, 60.0, 60.0, 60.0], chunksize=1):
            pass

    async def work() -> float:
        began = time.monotonic()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(read(), 0.2)
        return time.monotonic() - began

    assert run(work) < 1.2
    until(lambda: cluster._desk.outstanding == 0, "the rest is called off, after the first result")
