"""`oche.Pool` beside `multiprocessing.Pool`: whatever is asked, both answer the same."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from multiprocessing.pool import Pool as StandardPool
from pathlib import Path
from typing import Any

import plug_chores
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import errands
import oche
from farms import Farm, until
from oche.errors import ConfigError, Unsendable, Unsupported

Either = Any  # a pool of either kind


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    farm = Farm("beanstalkd", tmp_path_factory.mktemp("farm"))
    farm.worker("--slots", "2")
    yield farm
    farm.close()


@pytest.fixture(scope="module")
def pools(farm: Farm) -> Iterator[dict[str, Either]]:
    with (
        multiprocessing.get_context("spawn").Pool(2) as standard,
        oche.Pool(2) as local,
        oche.Pool(url=farm.url) as distant,
    ):
        yield {"standard": standard, "local": local, "distant": distant}


@pytest.fixture(params=["standard", "local", "distant"])
def pool(request: pytest.FixtureRequest, pools: dict[str, Either]) -> Either:
    return pools[request.param]


@pytest.fixture(params=["standard", "oche"])
def make(request: pytest.FixtureRequest) -> Callable[..., Either]:
    """Makes a pool of one test's own."""
    return multiprocessing.get_context("spawn").Pool if request.param == "standard" else oche.Pool


def test_apply(pool: Either) -> None:
    assert pool.apply(errands.add, (1,), {"b": 2}) == 3
    assert pool.apply(errands.keywords) == {}
    with pytest.raises(ValueError, match="oops") as caught:
        pool.apply(errands.fail, ("oops",))
    assert "in fail" in str(caught.value.__cause__)
    result = pool.apply_async(errands.square, (7,))
    assert result.get(30) == 49
    assert result.ready()
    assert result.successful()
    assert result.get(0) == 49


def test_waiting_for_one_call(pool: Either, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    result = pool.apply_async(errands.wait_for, (str(gate),))
    result.wait(0.01)
    assert not result.ready()
    with pytest.raises(ValueError, match="not"):
        result.successful()
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(timeout=0.01)
    gate.touch()
    assert result.get(30) is None


def test_callbacks_are_called_before_the_waiting_ends(pool: Either) -> None:
    good: list[Any] = []
    bad: list[Any] = []
    ask = {"callback": good.append, "error_callback": bad.append}
    pool.apply_async(errands.square, (2,), **ask).wait(30)
    pool.map_async(errands.square, range(3), **ask).wait(30)
    pool.starmap_async(errands.add, [(1, 2)], **ask).wait(30)
    assert good == [4, [0, 1, 4], [3]]
    failed = pool.apply_async(errands.fail, ("a",), **ask)
    failed.wait(30)
    assert not failed.successful()
    pool.map_async(errands.fail, ["b"], **ask).wait(30)
    assert [error.args for error in bad] == [("a",), ("b",)]
    assert len(good) == 3


@settings(max_examples=20, deadline=None)
@given(items=st.lists(st.integers(-3, 3), max_size=40), chunksize=st.sampled_from([1, 2, 7]), mapped=st.booleans())
def test_any_items_give_the_same(pools: dict[str, Either], items: list[int], chunksize: int, mapped: bool) -> None:
    def answers(pool: Either) -> list[object]:
        pairs = [(6, x) for x in items]
        return [
            tried(lambda: pool.map(plug_chores.reciprocal, items, chunksize if mapped else None)),
            tried(lambda: pool.map(plug_chores.reciprocal, iter(items))),
            tried(lambda: pool.starmap(plug_chores.divided, pairs, chunksize)),
            tried(lambda: pool.starmap_async(plug_chores.divided, iter(pairs)).get(30)),
            read(pool.imap(plug_chores.reciprocal, items, chunksize)),
            sorted(map(str, read(pool.imap_unordered(plug_chores.reciprocal, iter(items))))),
        ]

    wanted = answers(pools["standard"])
    assert answers(pools["local"]) == wanted
    assert answers(pools["distant"]) == wanted


def tried(call: Callable[[], object]) -> object:
    """The value, or what was raised."""
    try:
        return call()
    except Exception as error:
        return type(error), error.args


def read(results: Iterator[Any]) -> list[object]:
    """All results of an iterator that goes on after an error."""
    found: list[object] = []
    while True:
        try:
            found.append(next(results))
        except StopIteration:
            return found
        except Exception as error:
            found.append((type(error), error.args))


def test_imap_waits_for_a_while_and_can_be_asked_again(pool: Either, tmp_path: Path) -> None:
    gates = [tmp_path / name for name in "ab"]
    for ask in (pool.imap, pool.imap_unordered):
        results = ask(errands.wait_for, [str(gate) for gate in gates])
        with pytest.raises(multiprocessing.TimeoutError):
            results.next(timeout=0.01)
        for gate in gates:
            gate.touch()
        assert [results.next(timeout=30), results.next(30)] == [None, None]
        with pytest.raises(StopIteration):
            results.next(0)
        for gate in gates:
            gate.unlink()


def test_an_input_that_fails_raises_at_its_place(pool: Either) -> None:
    def numbers() -> Iterator[int]:
        yield from range(3)
        raise ValueError("no more")

    assert read(pool.imap(errands.square, numbers())) == [0, 1, 4, (ValueError, ("no more",))]
    with pytest.raises(ValueError, match="no more"):
        pool.map(errands.square, numbers())


def test_imap_begins_before_its_input_ends(pool: Either) -> None:
    """What is given last depends on what came first."""
    seen: list[int] = []

    def numbers() -> Iterator[int]:
        yield 2
        yield from itertools.repeat(3, 6)
        until(lambda: seen, "the first result was read")
        yield seen[0]

    for result in pool.imap(errands.square, numbers()):
        seen.append(result)
        if pool.__class__ is not StandardPool:
            continue
    assert seen == [4, *[9] * 6, 16]


def test_a_chunk_size_that_cannot_be_is_refused(pool: Either) -> None:
    with pytest.raises(ValueError, match="0"):
        pool.imap(errands.square, [1], chunksize=0)


def test_a_closed_pool_ends_its_work(make: Callable[..., Either], tmp_path: Path) -> None:
    pool = make(2)
    with pytest.raises(ValueError, match="running"):
        pool.join()
    names = [str(tmp_path / f"{i}") for i in range(40)]
    unread = pool.imap(plug_chores.touch, iter(names))
    half = pool.imap_unordered(errands.square, iter(range(1500)))
    next(half)
    mapped, applied = pool.map_async(errands.square, range(100)), pool.apply_async(errands.slow_square, (3,))
    pool.close()
    for late in (lambda: pool.apply(abs, (1,)), lambda: pool.imap(abs, []), lambda: pool.map(abs, []), pool.__enter__):
        with pytest.raises(ValueError, match="not running"):
            late()
    pool.close()
    pool.join()
    assert sorted(os.listdir(tmp_path)) == sorted(map(os.path.basename, names))
    assert list(unread) == names
    assert len(list(half)) == 1499
    assert mapped.get(0) == [i * i for i in range(100)]
    assert applied.get(0) == 9
    pool.terminate()
    pool.join()


def test_leaving_the_block_ends_it_now(make: Callable[..., Either]) -> None:
    began = time.monotonic()
    with make(2) as pool:
        running = [pool.apply_async(errands.spin, (60.0,)) for _ in range(5)]
        assert pool.apply_async(errands.square, (2,)) is not None
    pool.join()
    assert time.monotonic() - began < 20
    if isinstance(pool, oche.Pool):  # where multiprocessing leaves those who ask waiting
        for result in running:
            with pytest.raises(CancelledError):
                result.get(5)


def test_terminate_ends_a_pool_that_is_closing() -> None:
    began = time.monotonic()
    pool = oche.Pool(1)
    running = [pool.apply_async(errands.spin, (60.0,)), pool.map_async(errands.spin, [60.0] * 3)]
    endless = pool.imap(errands.spin, itertools.repeat(60.0))
    pool.close()
    pool.terminate()
    pool.join()
    assert time.monotonic() - began < 20
    for result in running:
        with pytest.raises(CancelledError):
            result.get(5)
    with pytest.raises((CancelledError, RuntimeError)):
        next(endless)


def test_an_initializer_runs_in_each_process(make: Callable[..., Either]) -> None:
    with make(2, plug_chores.remember, ("PLUGGED", "in")) as pool:
        assert pool.map(plug_chores.environment, ["PLUGGED"] * 20, 1) == ["in"] * 20


def test_what_multiprocessing_cannot_do(tmp_path: Path) -> None:
    with oche.Pool(2) as pool:
        assert pool.map(lambda x: x + 1, range(3)) == [1, 2, 3]
        died = [str(tmp_path / "died")] * 30
        assert pool.starmap(plug_chores.die_once, zip(died, range(30), strict=True)) == [i * i for i in range(30)]
        assert list(itertools.islice(pool.imap(errands.square, itertools.count()), 600)) == [i * i for i in range(600)]


def test_what_cannot_be_right_is_refused(farm: Farm) -> None:
    with pytest.raises(Unsupported, match="oche worker"):
        oche.Pool(2, url=farm.url)
    with pytest.raises(ConfigError, match="max_workers is 0"):
        oche.Pool(0)
    with oche.Pool(1) as pool, pytest.raises(Unsendable, match="lock"):
        pool.apply_async(errands.square, (threading.Lock(),)).get(5)
