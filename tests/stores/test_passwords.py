"""A store's password stays where it was given: jobs name the server only, and workers know it by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import store_chores

import oche
from farms import Farm, until
from oche.errors import ConfigError
from oche.queues.opening import open_queue
from oche.stores.arrays import share, view
from oche.stores.opening import open_store, reach_store
from oche.testing.servers import Redis, missing

WORD = "ses!ame"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Of a Redis that asks everybody for a password."""
    missing("redis-server", "redis")
    import redis

    with Redis() as server:
        with redis.Redis(port=server.port) as client:
            client.config_set("requirepass", WORD)
        yield f"redis://:{WORD}@127.0.0.1:{server.port}/0"


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    farm = Farm("beanstalkd", tmp_path)
    yield farm
    farm.close()


def test_the_url_of_an_open_store_has_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_store(url) as store:
        assert WORD not in store.url
        assert "@" not in store.url
        name = store.put(b"x")
        with pytest.raises(ConfigError, match="OCHE_STORE"):
            reach_store(store.url)
        monkeypatch.setenv("OCHE_STORE", f"redis://:other@127.0.0.1:1/0 {url}")
        with reach_store(store.url) as other:
            assert other.get(name) == b"x"
        monkeypatch.setenv("OCHE_STORE", url.replace(WORD, "wrong"))
        with pytest.raises(ConfigError, match="OCHE_STORE") as caught:
            reach_store(store.url)
        assert WORD not in str(caught.value)


def test_no_job_carries_it_and_workers_find_it(farm: Farm, url: str) -> None:
    a = np.arange(300 * 300).reshape(300, 300)
    farm.worker("--slots", "2", OCHE_STORE=url)
    with farm.connect(store=url) as cluster, open_queue(farm.url) as queue:
        assert cluster.submit(len, "x" * 100_000).result(30) == 100_000
        assert cluster.submit(str.upper, "x" * 100_000).result(30) == "X" * 100_000
        assert np.array_equal(oche.matmul(a, a, cluster=cluster), a @ a)
        assert np.array_equal(oche.scan(a.ravel(), cluster=cluster), np.cumsum(a))
        assert cluster.store is not None
        farm.workers[0].terminate()
        farm.workers[0].wait(30)
        shared = share(cluster.store, a)
        assert np.array_equal(view(shared, cluster.store), a)
        late = [cluster.submit(len, "x" * 100_000), cluster.submit(store_chores.total, shared)]
        body = until(lambda: queue.peek("oche.work", "ready"), "a job waits").body
        assert b"127.0.0.1" in body
        assert WORD.encode() not in body
        farm.worker("--slots", "2", OCHE_STORE=url)
        assert [future.result(30) for future in late] == [100_000, a.sum()]


def test_a_worker_that_does_not_know_it_says_so(farm: Farm, url: str) -> None:
    with farm.connect(store=url) as cluster:
        with pytest.raises(ConfigError, match="OCHE_STORE"):
            cluster.submit(len, "x" * 100_000).result(30)
        with pytest.raises(oche.errors.ResultUnsendable, match="OCHE_STORE"):
            cluster.submit(str.ljust, "x", 100_000).result(30)


def test_the_workers_of_this_program_know_it(url: str) -> None:
    with oche.connect("local:", store=url, max_workers=1) as cluster:
        assert cluster.store is not None
        shared = share(cluster.store, np.arange(1000.0))
        assert cluster.submit(store_chores.total, shared).result(30) == 499_500


@pytest.mark.parametrize("option", ["decode_responses=true", "password=secret", "ssl_password=secret"])
def test_what_cannot_be_in_the_url_of_a_store(option: str) -> None:
    missing("redis-server", "redis")
    with pytest.raises(ConfigError, match=option.partition("=")[0]) as caught:
        open_store(f"redis://:secret@127.0.0.1:1/0?{option}")
    assert "secret" not in str(caught.value)


def test_what_cannot_be_in_the_url_of_a_queue() -> None:
    missing("redis-server", "redis")
    with pytest.raises(ConfigError, match="decode_responses"):
        open_queue("redis://127.0.0.1:1/0?decode_responses=true")
