"""What algorithms compute with: rounds, searches and arrays, on any executor or none."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import team_chores as chores
from hypothesis import given
from hypothesis import strategies as st

import oche
from farms import Farm, until
from oche.algorithms import team as team_module
from oche.algorithms.team import AHEAD, Team, spans
from oche.errors import ConfigError, ValueLost
from oche.stores.arrays import ArrayRef, view

ENGINES = ["none", "threads", "processes", "local", "folder"]


@pytest.fixture(scope="module")
def executors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Executor | None]]:
    folder = tmp_path_factory.mktemp("values")
    with (
        ThreadPoolExecutor(2) as threads,
        ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes,
        oche.connect("local:", max_workers=2) as local,
        oche.connect("local:", max_workers=2, store=f"files://{folder}") as files,
    ):
        yield {"none": None, "threads": threads, "processes": processes, "local": local, "folder": files}


@pytest.fixture(params=ENGINES)
def executor(request: pytest.FixtureRequest, executors: dict[str, Executor | None]) -> Executor | None:
    return executors[request.param]


@given(n=st.integers(0, 300), size=st.integers(1, 100))
def test_spans_cover_all_in_order(n: int, size: int) -> None:
    parts = spans(n, size)
    assert [i for lo, hi in parts for i in range(lo, hi)] == list(range(n))
    assert all(hi - lo == size for lo, hi in parts[:-1])
    assert all(lo < hi for lo, hi in parts)


# Rounds


def test_a_round_answers_each_call_in_order(executor: Executor | None) -> None:
    with Team(executor) as team:
        assert team.round(chores.times, ((i, i) for i in range(40))) == [i * i for i in range(40)]
        assert team.round(chores.times, [(2, 3)], scale=5) == [30]
        assert team.round(chores.times, []) == []
        assert team.slots == (1 if executor is None else 2)


def test_the_work_is_done_by_workers(executors: dict[str, Executor | None]) -> None:
    for name in ("processes", "local"):
        with Team(executors[name]) as team:
            assert os.getpid() not in team.round(chores.who, [(i,) for i in range(6)])


def test_an_error_ends_a_round_and_calls_the_rest_off(executor: Executor | None, tmp_path: Path) -> None:
    """What had begun may end; nothing new begins once each slot has done something else."""
    slots = 1 if executor is None else 2
    begun, first, second = (tmp_path / name for name in ("begun", "first", "second"))
    for folder in (begun, first, second):
        folder.mkdir()
    with Team(executor) as team:
        with pytest.raises(ValueError, match="bad 3"):
            team.round(chores.fail_at, ((i,) for i in range(500)), bad=3, folder=str(begun))
        assert all(team.round(chores.meet, [(i,) for i in range(slots)], folder=str(first), of=slots))
        count = len(os.listdir(begun))
        assert 4 <= count <= 4 + 6 * AHEAD
        assert all(team.round(chores.meet, [(i,) for i in range(slots)], folder=str(second), of=slots))
        assert len(os.listdir(begun)) == count


def test_an_endless_round_is_pulled_a_bounded_number_ahead(executors: dict[str, Executor | None]) -> None:
    pulled = 0

    def calls() -> Iterator[tuple[int]]:
        nonlocal pulled
        for pulled in range(10**9):
            yield (pulled,)

    with Team(executors["threads"]) as team, pytest.raises(ValueError, match="bad"):
        team.round(fail_late, calls())
    assert pulled < 200


def fail_late(x: int) -> int:
    if x == 100:
        raise ValueError("bad")
    return x


def test_an_executor_of_no_known_size(executors: dict[str, Executor | None]) -> None:
    class Plain(Executor):
        """All that PEP 3148 asks for."""

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            threads = executors["threads"]
            assert threads is not None
            return threads.submit(fn, *args, **kwargs)

    with Team(Plain()) as team:
        assert team.slots == os.cpu_count()
        assert team.round(chores.times, [(i, 2) for i in range(100)]) == [2 * i for i in range(100)]
        shared, out = team.share(np.arange(10)), team.blank((10,), np.dtype(int))
        done = team.round(chores.double, spans(10, 3), shared=shared, out=out)
        assert team.collect(out, [((lo,), b) for (lo, _), b in zip(spans(10, 3), done, strict=True)]).sum() == 90


# Searches


def test_first_is_the_lowest_answer(executor: Executor | None) -> None:
    with Team(executor) as team:
        for n, least, stop in (
            (7, 100, 1000),
            (999, 1, 1000),
            (1, 0, 1000),
            (7, 2000, 1000),
            (5, 0, 0),
            (3, 998, 1000),
        ):
            expected = next((i for i in range(stop) if i % n == 0 and i >= least), None)
            assert team.first(partial(chores.multiple_of, n=n, least=least), range(stop), 64) == expected


def test_first_looks_no_further_than_it_must() -> None:
    seen = []

    def look(lo: int, hi: int) -> int | None:
        seen.append((lo, hi))
        return lo if lo >= 20 else None

    with Team(None) as team:
        assert team.first(look, range(5, 1000), 10) == 25
    assert seen == [(5, 15), (15, 25), (25, 35)]
    with ThreadPoolExecutor(1) as threads, Team(threads) as team:
        assert team.first(look, range(5, 10**6), 10) == 25
    assert len(seen) < 20


# Arrays


def test_arrays_are_shared_filled_and_collected(executor: Executor | None) -> None:
    a = np.random.default_rng(1).normal(size=(1000, 30))
    with Team(executor) as team:
        shared, out = team.share(a), team.blank(a.shape, a.dtype)
        done = team.round(chores.double, spans(1000, 77), shared=shared, out=out)
        whole = team.collect(out, [((lo,), block) for (lo, _), block in zip(spans(1000, 77), done, strict=True)])
    assert np.array_equal(whole, 2 * a)
    whole += 1  # it is ours, also now
    assert np.array_equal(whole, 2 * a + 1)


def test_how_arrays_travel(executors: dict[str, Executor | None]) -> None:
    """By reference where processes can share; as themselves within one process."""
    for name, url in (
        ("none", ""),
        ("threads", ""),
        ("processes", "memory:"),
        ("local", "memory:"),
        ("folder", "files:"),
    ):
        if url == "memory:" and sys.platform != "linux":
            continue
        with Team(executors[name]) as team:
            shared, out = team.share(np.arange(3)), team.blank((3,), np.dtype(int))
            ((where, filled),) = team.round(chores.shared_kind, [()], shared=shared, out=out)
        assert where.startswith(url or "ndarray"), name
        assert filled.startswith(url), name
        assert bool(filled) is bool(url), name


def test_nothing_is_shared_after_the_end(executor: Executor | None) -> None:
    for failing in (False, True):
        with contextlib.suppress(ZeroDivisionError), Team(executor) as team:
            made = [team.share(np.arange(3)), team.blank((3,), np.dtype(int))]
            if failing:
                raise ZeroDivisionError
        for shared in made:
            if isinstance(shared, ArrayRef) and shared.name:
                with pytest.raises(ValueLost):
                    view(shared)


def test_the_clusters_own_values_stay(executors: dict[str, Executor | None]) -> None:
    cluster = executors["local"]
    assert isinstance(cluster, oche.Cluster)
    assert cluster.store is not None
    mine = cluster.store.put(b"mine")
    with Team(cluster) as team:
        team.share(np.arange(3))
    assert bytes(cluster.store.get(mine)) == b"mine"
    cluster.store.delete(mine)


def test_what_cannot_be_shared_is_refused(executor: Executor | None) -> None:
    with Team(executor) as team, pytest.raises(ConfigError, match="Python objects"):
        team.share(np.array([None]))


def test_where_memory_cannot_be_shared_arrays_travel_in_the_calls(
    executors: dict[str, Executor | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a system that is not Linux."""
    monkeypatch.delattr(os, "memfd_create", raising=False)
    with Team(executors["processes"]) as team:
        shared = team.share(np.arange(10.0))
        assert isinstance(shared, np.ndarray)
        assert team.round(chores.total, [(0, 5), (5, 10)], shared=shared) == [10.0, 35.0]


# What may happen


def test_progress_is_shown_on_request(executors: dict[str, Executor | None], capfd: pytest.CaptureFixture[str]) -> None:
    for shown in (False, True):
        with Team(executors["local"], progress=shown) as team:
            team.round(chores.times, [(i, i) for i in range(8)])
            team.first(partial(chores.multiple_of, n=7, least=100), range(1000), 64)
        captured = capfd.readouterr()
        assert captured.out == ""
        assert ("times" in captured.err) is shown
        assert ("multiple_of" in captured.err) is shown


def test_children_killed_amid_a_round_change_nothing(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    a = np.random.default_rng(2).integers(0, 100, 4000)
    farm = Farm("sqlite", tmp_path)  # whose workers have no other children than those of this test
    kills = 0
    with farm.connect() as cluster, ThreadPoolExecutor(1) as pool, Team(cluster) as team:
        shared, out = team.share(a), team.blank(a.shape, a.dtype)
        rounds = pool.submit(team.round, chores.slow_double, spans(4000, 100), shared=shared, out=out)
        while not rounds.done() and kills < 3:
            crew = until(lambda: farm.children() or rounds.done(), "there is somebody to kill")
            if crew is True:
                break
            with contextlib.suppress(psutil.NoSuchProcess):
                chance.choice(crew).kill()
                kills += 1
            with contextlib.suppress(TimeoutError):
                rounds.result(0.3)
        done = rounds.result(50)
        whole = team.collect(out, [((lo,), block) for (lo, _), block in zip(spans(4000, 100), done, strict=True)])
    farm.close()
    assert kills > 0
    assert np.array_equal(whole, 2 * a)


def test_a_team_that_shares_nothing_costs_nothing(executors: dict[str, Executor | None]) -> None:
    assert team_module.CRASHES > 0
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    for _ in range(20):
        with Team(executors["processes"]) as team:
            team.round(chores.times, [(1, 2)])
    if sys.platform == "linux":
        until(lambda: len(os.listdir("/proc/self/fd")) <= before, "all files are closed", seconds=5)
