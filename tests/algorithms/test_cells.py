"""The published matrix product, a job for each cell, on every pair of queue and store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest

import oche
from farms import Farm
from oche.algorithms.team import Team
from oche.errors import ValueLost
from oche.testing.servers import Memcached, Redis, Server, missing

QUEUES = ["local", "sqlite", "beanstalkd", "redis", "rabbitmq", "gearman", "nsq"]
STORES = ["memory", "files", "redis", "memcached"]


@pytest.fixture(scope="module", params=QUEUES)
def farm(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    shared_server: Callable[[str], Server | None],
) -> Iterator[Farm]:
    farm = Farm(request.param, tmp_path_factory.mktemp("farm"), server=shared_server(request.param))
    yield farm
    farm.close()


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    missing("redis-server", "redis")
    with Redis() as server:
        yield server.url


@pytest.fixture(scope="module")
def memcached() -> Iterator[Memcached]:
    missing("memcached", "pymemcache")
    with Memcached() as server:
        yield server


def stats(server: Memcached) -> dict[bytes, int]:
    from pymemcache.client.base import Client

    with closing(Client(("127.0.0.1", server.port))) as client:
        return client.stats()


@pytest.mark.parametrize("store", STORES)
def test_every_pair_makes_the_product(
    farm: Farm, store: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> None:
    if store == "memcached":
        url = request.getfixturevalue("memcached").url
    elif store == "redis":
        url = request.getfixturevalue("redis_url")
    else:
        url = "memory:" if store == "memory" else f"files://{tmp_path_factory.mktemp('values')}"
    chance = np.random.default_rng(7)
    a, b = chance.integers(-(2**62), 2**62, (5, 4)), chance.integers(-9, 9, (4, 6))
    with farm.connect(store=url) as cluster:
        with np.errstate(over="ignore"):
            assert np.array_equal(oche.matmul_cells(a, b, cluster=cluster), a @ b)
        assert np.array_equal(oche.matmul_cells(a > 0, b / 2, cluster=cluster), (a > 0) @ (b / 2))
        assert np.array_equal(oche.matmul(a % 99, b, cluster=cluster), (a % 99) @ b)


def test_as_published(memcached: Memcached, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Work on beanstalkd, each cell in memcached; and none of it stays there, nor a number in an answer."""
    farm = Farm("beanstalkd", tmp_path_factory.mktemp("farm"))
    try:
        with farm.connect(store=memcached.url) as cluster:
            before, a = stats(memcached), np.arange(64).reshape(8, 8)
            assert np.array_equal(oche.matmul_cells(a, a, cluster=cluster), a @ a)
            after = stats(memcached)
            assert after[b"cmd_set"] - before[b"cmd_set"] == 64
            assert after[b"curr_items"] == before[b"curr_items"]
    finally:
        farm.close()


def test_cells_that_are_dropped(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others fill a memcached of 2 MB before cells are collected: a lost cell is said, by its store's name."""
    missing("memcached", "pymemcache")
    from pymemcache.client.base import Client

    farm, crowd = Farm("beanstalkd", tmp_path_factory.mktemp("farm")), 0
    whole = Team.collect

    def collect(team: Team, out: Any, pieces: Any) -> Any:
        with closing(Client(("127.0.0.1", server.port))) as client:
            for lo in range(0, crowd, 1000):
                client.set_many({f"{i:077}": b"x" * 8 for i in range(lo, lo + 1000)}, noreply=False)
        return whole(team, out, pieces)

    monkeypatch.setattr(Team, "collect", collect)
    try:
        with Memcached(2) as server, farm.connect(store=server.url) as cluster:
            a = np.arange(64).reshape(8, 8)
            assert np.array_equal(oche.matmul_cells(a, a, cluster=cluster), a @ a)
            crowd = 30_000
            with pytest.raises(ValueLost, match=f"memcached at 127.0.0.1:{server.port}"):
                oche.matmul_cells(a, a, cluster=cluster)
            assert stats(server)[b"evictions"] > 0
    finally:
        farm.close()
