"""Values in Redis, the real one."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import oche
from farms import Farm, until
from oche.errors import ConfigError, StoreError, StoreFull, Unsupported, ValueLost
from oche.stores import parts
from oche.stores.arrays import share
from oche.testing.servers import Redis, missing
from oche.testing.store_suite import Rig, StoreSuite

pytest.importorskip("redis")
import redis
import store_chores

from oche.stores.redis import PART, RedisStore

CHANCE = random.Random(5)


@pytest.fixture(autouse=True)
def _installed() -> None:
    missing("redis-server", "redis")


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    missing("redis-server", "redis")
    with Redis() as server:
        yield server


@pytest.fixture
def client(server: Redis) -> Iterator[redis.Redis]:
    """To look at what the server holds; at the end of each test that is nothing."""
    with redis.Redis(port=server.port) as client:
        yield client
        assert held(client) == []


@pytest.fixture
def store(server: Redis, client: redis.Redis) -> Iterator[RedisStore]:
    with RedisStore.open(server.url) as store:
        yield store


def held(client: redis.Redis) -> list[str]:
    """The keys that the server holds."""
    return sorted(key.decode() for key in client.scan_iter())


def fill(store: RedisStore, data: bytes) -> list[str]:
    """Puts the value until there is no more room; the names."""
    names = []
    with suppress(StoreFull):
        while True:
            names.append(store.put(data))
    return names


def calls(client: redis.Redis, command: str) -> int:
    """How often the server has heard a command."""
    found = client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})
    return int(found["calls"])


class TestRedisStore(StoreSuite):
    @pytest.fixture
    def rig(self, server: Redis) -> Iterator[Rig]:
        with redis.Redis(port=server.port) as client:

            def lapse() -> None:
                """Each part has an end; it comes now."""
                for key in held(client):
                    assert 0 < client.ttl(key) <= parts.LIFE
                    client.pexpire(key, 0)

            yield Rig(open=lambda: RedisStore.open(server.url), left=lambda: held(client), lapse=lapse)
            lapse()  # of processes that a test has killed


# Opening


@pytest.mark.parametrize(
    "url",
    ["redis:", "redis://", "redis:///0", "redis://127.0.0.1/numbers", "redis://127.0.0.1:x", "http://127.0.0.1",
     "redis://127.0.0.1/0?no_such_option=1", "redis://127.0.0.1?socket_timeout=soon"],
)  # fmt: skip
def test_urls_that_cannot_be_right(url: str) -> None:
    with pytest.raises(ConfigError, match="redis://user:password@host"):
        RedisStore.open(url)


def test_a_message_does_not_tell_the_password() -> None:
    for url in ("redis://me:secret@127.0.0.1/numbers", "redis://me:secret@127.0.0.1/0?no_such_option=1"):
        with pytest.raises(ConfigError) as caught:
            RedisStore.open(url)
        assert "secret" not in str(caught.value)


def test_nobody_answers() -> None:
    with pytest.raises(StoreError, match=r"Redis at 127.0.0.1:1 cannot .* see that it runs"):
        RedisStore.open("redis://127.0.0.1:1")


def test_valkey_is_another_name(server: Redis) -> None:
    with RedisStore.open(server.url.replace("redis://", "valkey://")) as store:
        assert store.url == server.url
        assert store.get(store.put(b"x")) == b"x"


def test_databases_are_apart(server: Redis, store: RedisStore) -> None:
    name = store.put(b"x")
    with RedisStore.open(f"{server.url}/1") as other:
        with pytest.raises(ValueLost, match="the server that the owner sees"):
            other.get(name)
        assert other.get(other.put(b"y")) == b"y"


def test_users_and_what_they_may(server: Redis, client: redis.Redis) -> None:
    client.acl_setuser("painter", enabled=True, passwords=["+sesame"], commands=["+@all", "-script"], keys=["*"])
    client.acl_setuser("reader", enabled=True, passwords=["+sesame"], commands=["+@all", "-set"], keys=["*"])
    url = "redis://{}@127.0.0.1:" + str(server.port)
    with pytest.raises(ConfigError, match="mend user and password"):
        RedisStore.open(url.format("painter:wrong"))
    with pytest.raises(Unsupported, match="Redis 7 or Valkey is needed, and the right to run scripts"):
        RedisStore.open(url.format("painter:sesame"))
    with RedisStore.open(url.format("reader:sesame")) as reader, pytest.raises(StoreError, match="what it allows us"):
        reader.put(b"x")
    client.acl_deluser("painter", "reader")


# Parts


def test_a_value_is_parts_that_live_for_a_while(store: RedisStore, client: redis.Redis) -> None:
    data = CHANCE.randbytes(2 * PART + 5)
    for name in (store.put(data), store.create(len(data))):
        assert [client.strlen(f"oche:value:{name}:{number}") for number in range(4)] == [PART, PART, 5, 0]
        assert all(0 < client.ttl(key) <= parts.LIFE for key in held(client))
        store.write(name, 0, data)
        assert all(0 < client.ttl(key) <= parts.LIFE for key in held(client))
        assert store.get(name) == data
        assert store.take(name) == data


@pytest.mark.parametrize("size", [PART - 1, PART, PART + 1, 2 * PART, 5 * PART + 7])
def test_pieces_across_parts(store: RedisStore, size: int) -> None:
    data = CHANCE.randbytes(size)
    name = store.create(size)
    cuts = sorted({0, size, *(CHANCE.randrange(size) for _ in range(9)), *range(0, size, PART)})
    pieces = [(lo, data[lo:hi]) for lo, hi in pairwise(cuts)]
    CHANCE.shuffle(pieces)
    store.write_many(name, [*pieces, (size, b""), pieces[0]])
    assert store.get(name) == data


def test_many_small_pieces(store: RedisStore) -> None:
    data = CHANCE.randbytes(300_000)
    name = store.create(len(data))
    store.write_many(name, ((lo, data[lo : lo + 3]) for lo in range(0, len(data), 3)))
    assert store.get(name) == data


def test_a_late_attempt_brings_nothing_to_life(store: RedisStore, client: redis.Redis) -> None:
    name = store.create(PART + 10)
    store.delete(name)
    with pytest.raises(ValueLost):
        store.write(name, PART - 5, b"0123456789")
    assert held(client) == []


def test_a_part_that_is_gone_or_cut_short_is_a_lost_value(store: RedisStore, client: redis.Redis) -> None:
    for spoil in (client.delete, lambda key: client.set(key, b"short", keepttl=True)):
        name = store.put(CHANCE.randbytes(2 * PART))
        spoil(f"oche:value:{name}:1")
        with pytest.raises(ValueLost):
            store.get(name)
        store.delete(name)


def test_the_owner_renews_what_it_made(store: RedisStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PACE", 0.02)
    store.put(CHANCE.randbytes(2 * PART))
    store.create(5)
    for key in held(client):
        client.expire(key, parts.LIFE // 2)
    until(lambda: all(client.ttl(key) > parts.LIFE // 2 for key in held(client)), "all parts are renewed")


def test_a_forked_child_owns_nothing(store: RedisStore, client: redis.Redis) -> None:
    """Its end, and what it does before, leave the parent's values alone."""
    name = store.put(b"mine")
    child = os.fork()
    if not child:
        status = 1
        try:
            assert store.get(name) == b"mine"
            store.delete(name)
            store.put(b"a child's")
            store.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert store.get(name) == b"mine"
    assert len(held(client)) == 1


# Room


def test_no_room(tmp_path: Path) -> None:
    with Redis(options=["--maxmemory", "20mb"]) as server, RedisStore.open(server.url) as store:
        assert store.traits.keeps
        with pytest.raises(StoreFull, match=r"30,000,000 bytes does not fit the \d"):
            store.put(bytes(30_000_000))
        data = CHANCE.randbytes(3 * PART)
        names = fill(store, data) + fill(store, data[:PART])
        with pytest.raises(StoreFull, match="more room"):  # what is as small as that, nobody asks about beforehand
            store.put(data[:PART])
        assert all(store.get(name) == data[: len(store.get(name))] for name in names)
        with redis.Redis(port=server.port) as client:
            assert {key.split(":")[2] for key in held(client)} == set(names)
            store.delete(names[0])
            filled = store.create(2 * PART)
            client.config_set("maxmemory", "2mb")
        # Pieces have their room from the beginning.
        with pytest.raises(StoreFull):
            store.put(b"x")
        store.write(filled, 0, data[: 2 * PART])
        assert store.get(filled) == data[: 2 * PART]


def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    """A server that keeps its values on disk, too, takes no more of them then."""
    with (
        Redis(options=["--save", "3600 1", "--dir", str(tmp_path)]) as server,
        redis.Redis(port=server.port) as client,
        RedisStore.open(server.url) as store,
    ):
        (tmp_path / "dump.rdb").mkdir()
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "the disk fails")
        with pytest.raises(StoreFull, match="MISCONF"):
            store.put(b"x")
        client.config_set("save", "")  # else it would not end without


def test_a_server_that_drops_what_it_likes() -> None:
    options = ["--maxmemory", "20mb", "--maxmemory-policy", "allkeys-lru"]
    with Redis(options=options) as server, RedisStore.open(server.url) as store:
        assert not store.traits.keeps
        values = [CHANCE.randbytes(2 * PART + 5) for _ in range(20)]
        names = [store.put(value) for value in values]
        found = 0
        for name, value in zip(names, values, strict=True):
            try:
                assert store.get(name) == value
                found += 1
            except ValueLost:
                pass
        assert 0 < found < 20
        with pytest.raises(StoreFull):
            store.put(bytes(30_000_000))


# Connections


def test_a_connection_that_broke_is_made_again(store: RedisStore, client: redis.Redis) -> None:
    name, filled = store.put(b"x"), store.create(5)
    for verb in (
        lambda: store.get(name), lambda: store.put(b"y"), lambda: store.write(filled, 0, b"12345"),
        lambda: store.create(3), lambda: store.delete(name),
    ):  # fmt: skip
        client.client_kill_filter(_type="normal", skipme=True)
        verb()
    assert store.get(filled) == b"12345"


def test_a_server_that_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PACE", 0.02)
    server = Redis()
    server.start()
    store = RedisStore.open(server.url)
    name, filled = store.put(b"x"), store.create(5)
    server.kill()
    for verb in (
        lambda: store.get(name), lambda: store.take(name), lambda: store.put(b"y"), lambda: store.create(5),
        lambda: store.write(filled, 0, b"12345"), lambda: RedisStore.open(server.url),
    ):  # fmt: skip
        with pytest.raises(StoreError, match=f"Redis at 127.0.0.1:{server.port} cannot .* see that it runs") as caught:
            verb()
        assert not isinstance(caught.value, ValueLost | StoreFull)
    server.start()
    for verb in (lambda: store.get(name), lambda: store.write(filled, 0, b"12345")):
        with pytest.raises(ValueLost, match="began anew"):
            verb()
    again = store.put(b"again")
    assert store.get(again) == b"again"
    with redis.Redis(port=server.port) as client:  # renewals go on, though the server was away
        client.expire(f"oche:value:{again}:0", 9)
        until(lambda: client.ttl(f"oche:value:{again}:0") > 9, "the value is renewed")
    server.kill()
    store.delete(again)
    store.close()


# Arrays and clusters


def test_an_array_travels_once_to_each_process(server: Redis, client: redis.Redis, store: RedisStore) -> None:
    a = np.arange(10_000.0)
    shared = share(store, a)
    with oche.connect("local:", max_workers=1) as cluster:
        before = calls(client, "get")
        assert [cluster.submit(store_chores.total, shared).result(30) for _ in range(10)] == [a.sum()] * 10
    assert calls(client, "get") - before == 1


def test_a_product_over_the_network(server: Redis, client: redis.Redis, tmp_path: Path) -> None:
    """beanstalkd for the jobs and Redis for the matrices: each worker gets what it needs of them once."""
    farm = Farm("beanstalkd", tmp_path)
    chance = np.random.default_rng(1)
    a, b = chance.integers(-9, 9, (700, 300)), chance.integers(-9, 9, (300, 500))
    try:
        with farm.connect(store=server.url) as cluster:
            assert cluster.store is not None
            before = calls(client, "get")
            assert np.array_equal(oche.matmul(a, b, cluster=cluster), a @ b)
            got = calls(client, "get") - before
            assert held(client) == []
            farm.children()[0].kill()
            assert np.array_equal(oche.matmul(a, b, cluster=cluster), a @ b)
    finally:
        farm.close()
    assert got > 0
