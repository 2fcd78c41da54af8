"""What algorithms move over the network, and leave there, where arrays are in a Redis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import oche
from oche.testing.servers import Redis, missing


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    missing("redis-server", "redis")
    with Redis() as server:
        yield server


@pytest.fixture
def client(server: Redis) -> Iterator[Any]:
    import redis

    with redis.Redis(port=server.port) as client:
        yield client


def test_a_sort_fetches_each_key_once_a_round(server: Redis, client: Any) -> None:
    """The blocks, the keys by their parts, and the result: three times the array, however many workers there are."""
    a = np.random.default_rng(1).random(3_000_000)
    with oche.connect("local:", store=server.url, max_workers=3) as cluster:
        before = client.info("stats")["total_net_output_bytes"]
        assert np.array_equal(oche.sort(a, cluster=cluster), np.sort(a))
        moved = client.info("stats")["total_net_output_bytes"] - before
        assert moved < 3.1 * a.nbytes
        assert np.array_equal(oche.argsort(a[:500_000], cluster=cluster), np.argsort(a[:500_000], kind="stable"))
        names = np.array([f"name{i % 977}" for i in range(20_000)])
        assert np.array_equal(oche.sort(names, cluster=cluster), np.sort(names))
    assert client.keys("oche:value:*") == []


def test_map_reduce_takes_no_room_that_it_does_not_need(server: Redis, client: Any) -> None:
    client.config_resetstat()
    before = client.info("memory")["used_memory"]
    client.config_set("maxmemory", before + (48 << 20))  # a drawer alone would have 64 MiB
    try:
        with oche.connect("local:", store=server.url, max_workers=2) as cluster:
            got = oche.map_reduce(lambda n: [(n % 7, n)], lambda key, values: sum(values), range(1000), cluster=cluster)
        assert got == {k: sum(range(k, 1000, 7)) for k in range(7)}
    finally:
        client.config_set("maxmemory", 0)
