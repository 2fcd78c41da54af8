"""Calls and results over the broker's limit go by way of the store: they come back right, and nothing of them stays."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import errands
from farms import Farm, until
from oche.errors import ResultUnsendable, TooLarge, ValueLost
from oche.stores.files import FileStore
from oche.testing.servers import Memcached, Redis, missing

SEED = int(os.environ.get("OCHE_SEED", "0")) or random.SystemRandom().randrange(2**32)
print(f"OCHE_SEED={SEED}")
CHANCE = random.Random(SEED)


@dataclass
class Place:
    """A store for a farm's clients, and a look at what is in it."""

    url: str
    held: Callable[[], list[str]]
    drop: Callable[[], object]  #: all that is there goes, as if the server had begun anew


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    farm = Farm("beanstalkd", tmp_path_factory.mktemp("farm"))
    yield farm
    farm.close()


def files(folder: Path) -> Place:
    def held() -> list[str]:
        return [str(path) for path in folder.glob("oche-*/*") if path.name != "owner"]

    return Place(f"files://{folder}", held, lambda: [os.unlink(path) for path in held()])


def on_redis() -> Iterator[Place]:
    missing("redis-server", "redis")
    import redis

    with Redis() as server, redis.Redis(port=server.port) as client:
        yield Place(server.url, lambda: [key.decode() for key in client.keys("oche:value:*")], client.flushall)


def on_memcached() -> Iterator[Place]:
    missing("memcached", "pymemcache")
    from pymemcache.client.base import Client

    with Memcached() as server, contextlib.closing(Client(("127.0.0.1", server.port))) as client:

        def held() -> list[str]:
            return [name.decode() for name in client.stats("items") if name.endswith(b":number")]

        yield Place(server.url, held, client.flush_all)


@pytest.fixture(params=["memory", "files", "redis", "memcached"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "memory":
        yield Place("memory:", list, list)
    elif request.param == "files":
        yield files(tmp_path)
    else:
        yield from on_redis() if request.param == "redis" else on_memcached()


def payload(size: int) -> str:
    return CHANCE.randbytes(size // 2).hex()


def test_large_arguments_and_results_come_back_right_and_nothing_stays(farm: Farm, place: Place) -> None:
    text, array = payload(300_000), np.arange(50_000.0)
    with farm.connect(store=place.url) as cluster:
        assert cluster.submit(len, text).result(30) == len(text)
        assert cluster.submit(str.upper, text).result(30) == text.upper()
        again = cluster.submit(np.multiply, array, 2).result(30)
        assert np.array_equal(again, array * 2)
        again[0] = 1  # the caller's own
        assert cluster.submit(errands.add, 1, b=2).result(30) == 3
        named = cluster.submit(errands.keywords, first=text, second=array.tolist()).result(30)
        assert named == {"first": text, "second": array.tolist()}
        texts = [payload(size) for size in (10, 70_000, 200_000, 30_000, 30_000, 65_000)]
        assert list(cluster.map(str.upper, texts)) == [text.upper() for text in texts]
        assert list(cluster.map(partial(errands.prefixed, text[:100_000]), range(20))) == [
            text[:10] + str(i) for i in range(20)
        ]
        assert cluster.reduce(partial(errands.counted, text), range(1000), errands.add) == 1000 * len(text)
    until(lambda: not place.held(), "the store is empty")


def test_many_values_of_one_job(farm: Farm, place: Place) -> None:
    """A job of many short calls whose results together are over the limit."""
    with farm.connect(store=place.url) as cluster:
        assert list(cluster.map(errands.long_text, range(40), chunksize=20)) == [str(i) * 5000 for i in range(40)]
        assert not place.held()


def test_a_function_that_holds_much(farm: Farm, place: Place) -> None:
    table = CHANCE.randbytes(200_000)
    with farm.connect(store=place.url) as cluster:
        assert list(cluster.map(lambda i: table[i], range(500))) == list(table[:500])


def test_what_raises_and_what_it_takes_along(farm: Farm, place: Place) -> None:
    with farm.connect(store=place.url) as cluster:
        with pytest.raises(ValueError, match=r"^nox{100000}$"):
            cluster.submit(errands.fail, "no" + "x" * 100_000).result(30)
        assert cluster.submit(len, "x" * 100_000).result(30) == 100_000


def test_without_a_store_limit_and_option_are_named(farm: Farm) -> None:
    with farm.connect() as cluster:
        with pytest.raises(TooLarge, match=r"65,535.*store=.*-z BYTES"):
            cluster.submit(len, "x" * 70_000)
        with pytest.raises(ResultUnsendable, match=r"100,0\d\d bytes.*store="):
            cluster.submit(errands.long_text, 1, 100_000).result(30)
        with pytest.raises(TooLarge):
            list(cluster.map(lambda i, t="x" * 70_000: t[i], range(5)))


def test_a_thousand_small_arguments_are_too_many(farm: Farm, place: Place) -> None:
    with farm.connect(store=place.url) as cluster:
        with pytest.raises(TooLarge, match="fewer arguments"):
            cluster.submit(max, *["x" * 200] * 1000).result(30)
        assert cluster.submit(max, *[["x" * 400]] * 200).result(30) == ["x" * 400]


@pytest.mark.parametrize("ahead", [False, True])
def test_the_same_array_is_put_once(farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: bool) -> None:
    puts = []

    class Counting(FileStore):
        def put(self, data: Any) -> str:
            puts.append(len(data))
            return super().put(data)

    monkeypatch.setattr("oche.stores.files.FileStore", Counting)
    array = np.arange(30_000.0)
    with farm.connect(store=f"files://{tmp_path}") as cluster:
        if ahead:
            futures = [cluster.submit(errands.item_plus, array, i) for i in range(200)]
            assert [future.result(30) for future in futures] == [2 * i for i in range(200)]
        else:
            assert [cluster.submit(errands.item_plus, array, i).result(30) for i in range(50)] == [
                2 * i for i in range(50)
            ]
        assert len(puts) == 1
    assert os.listdir(tmp_path) == []


def test_an_array_travels_once_to_each_worker(tmp_path: Path) -> None:
    missing("redis-server", "redis")
    import redis

    own = Farm("beanstalkd", tmp_path, slots=1)
    try:
        with Redis() as server, own.connect(store=server.url) as cluster, redis.Redis(port=server.port) as client:
            array = np.arange(200_000.0)
            assert list(cluster.map(partial(errands.item_plus, array), range(50))) == [2 * i for i in range(50)]
            sent = client.info("commandstats")["cmdstat_get"]["calls"]
            assert sent == -(-array.nbytes * 4 // 3 // 2**20)
    finally:
        own.close()


def test_what_the_store_drops_is_sent_again(farm: Farm, place: Place, tmp_path: Path) -> None:
    """The store loses all while jobs wait that name something in it."""
    if place.url == "memory:":
        pytest.skip("nothing is dropped here")
    with farm.connect(store=place.url) as cluster:
        gate = tmp_path / "gate"
        waits = [cluster.submit(errands.wait_for, str(gate)) for _ in range(farm.slots)]
        futures = [cluster.submit(str.upper, payload(100_000)) for _ in range(4)]
        until(place.held, "an argument is in the store")
        place.drop()
        gate.touch()
        for wait in waits:
            wait.result(30)
        assert [len(future.result(30)) for future in futures] == [100_000] * 4


def test_what_somebody_changes_in_the_store_is_noticed(farm: Farm, tmp_path: Path) -> None:
    place, gate = files(tmp_path / "values"), tmp_path / "gate"
    (tmp_path / "values").mkdir()
    text = payload(100_000)
    with farm.connect(store=place.url) as cluster:
        waits = [cluster.submit(errands.wait_for, str(gate)) for _ in range(farm.slots)]
        future = cluster.submit(str.upper, text)
        (path,) = until(place.held, "an argument is in the store")
        with open(path, "r+b") as file:
            file.write(b'"!')
        gate.touch()
        assert future.result(30) == text.upper()  # it was sent once more
        assert [wait.result(30) for wait in waits] == [None] * len(waits)


def test_a_result_that_is_lost_again_and_again_ends_in_a_named_error(
    farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def accept(self: FileStore, name: str) -> memoryview:
        tries.append(name)
        if len(tries) in (1, 3, 4, 5, 6):
            raise ValueLost("it is gone")
        return FileStore.get(self, name)

    monkeypatch.setattr(FileStore, "accept", accept)
    with farm.connect(store=f"files://{tmp_path}") as cluster:
        assert cluster.submit(errands.long_text, 1, 100_000).result(30) == "1" * 100_000
        assert len(tries) == 2
        with pytest.raises(ValueLost, match="it is gone"):
            cluster.submit(errands.long_text, 2, 100_000).result(30)
        assert len(tries) == 6
