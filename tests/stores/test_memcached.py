"""Values in memcached, the real one."""

from __future__ import annotations

import os
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import store_chores

import oche
from farms import Farm, until
from oche.errors import ConfigError, StoreError, StoreFull, Unsupported, ValueLost
from oche.stores import parts
from oche.stores.arrays import share
from oche.testing.servers import Memcached, free_port, missing
from oche.testing.store_suite import Rig, StoreSuite

pytest.importorskip("pymemcache")
from pymemcache.client.base import Client

from oche.stores.memcached import HEAD, MemcachedStore

CHANCE = random.Random(7)
PART = (1 << 20) - HEAD


@pytest.fixture(autouse=True)
def _installed() -> None:
    missing("memcached", "pymemcache")


@pytest.fixture(scope="module")
def server() -> Iterator[Memcached]:
    missing("memcached", "pymemcache")
    with Memcached(512) as server:
        yield server


@pytest.fixture
def client(server: Memcached) -> Iterator[Client]:
    """To look at what the server holds; at the end of each test that is nothing."""
    client = Client(("127.0.0.1", server.port))
    yield client
    assert ends(client) == {}
    client.close()


@pytest.fixture
def store(server: Memcached, client: Client) -> Iterator[MemcachedStore]:
    with MemcachedStore.open(server.url) as store:
        yield store


def ends(client: Client) -> dict[str, float]:
    """Each key that the server holds, and in how many seconds it goes by itself."""
    said = b"BUSY"  # with what it was asked for before
    while said.startswith(b"BUSY"):
        said = b""
        with socket.create_connection(client.server, timeout=5) as talk:
            talk.sendall(b"lru_crawler metadump hash\r\n")
            while not said.endswith(b"END\r\n") and not said.startswith(b"BUSY"):
                said += talk.recv(1 << 16)
    now = time.time()
    found = re.findall(r"key=(\S+) exp=(-?\d+)", said.decode())
    return {unquote(key): int(end) - now for key, end in found if not 0 <= int(end) <= now}


def gets(client: Client) -> int:
    """How often the server was asked for an item."""
    return int(client.stats()[b"cmd_get"])


class TestMemcachedStore(StoreSuite):
    @pytest.fixture
    def rig(self, server: Memcached) -> Iterator[Rig]:
        client = Client(("127.0.0.1", server.port))

        def lapse() -> None:
            """Each part has an end; it comes now."""
            for key, end in ends(client).items():
                assert 0 < end <= parts.LIFE + 1
                client.touch(key, -1, noreply=False)

        yield Rig(open=lambda: MemcachedStore.open(server.url), left=lambda: list(ends(client)), lapse=lapse)
        lapse()  # of processes that a test has killed
        client.close()


# Opening


@pytest.mark.parametrize(
    "url",
    ["memcached:", "memcached://", "memcached:///0", "memcached://127.0.0.1/0", "memcached://127.0.0.1:x",
     "memcached://user@127.0.0.1", "memcached://127.0.0.1?a=b", "memcached://[::1"],
)  # fmt: skip
def test_urls_that_cannot_be_right(url: str) -> None:
    with pytest.raises(ConfigError, match="memcached://host:11211"):
        MemcachedStore.open(url)


def test_nobody_answers() -> None:
    with pytest.raises(StoreError, match=r"memcached at ::1:1 cannot tell its limits.* see that it runs"):
        MemcachedStore.open("memcached://[::1]:1")


def test_somebody_else_answers() -> None:
    def answer() -> None:
        with suppress(OSError):  # whoever asked may be gone by now
            for _ in range(2):
                with listener.accept()[0] as talk:
                    talk.recv(100)
                    talk.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", free_port())) as listener:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(StoreError, match="is it a memcached"):
            MemcachedStore.open(f"memcached://127.0.0.1:{listener.getsockname()[1]}")


def test_pieces_are_not_for_it(store: MemcachedStore) -> None:
    for verb in (lambda: store.create(5), lambda: store.write(store.put(b"12345"), 0, b"1")):
        with pytest.raises(Unsupported, match="put whole values, or take a store that can"):
            verb()


# Parts


def test_a_value_is_parts_that_live_for_a_while(store: MemcachedStore, client: Client) -> None:
    data = CHANCE.randbytes(2 * PART + 5)
    name = store.put(data)
    found = ends(client)
    assert set(found) == {f"oche:value:{name}:{number}" for number in range(3)}
    assert all(0 < end <= parts.LIFE + 1 for end in found.values())
    assert b"".join(client.get(f"oche:value:{name}:{number}") for number in range(3)) == data


@pytest.mark.parametrize("size", [PART - 1, PART, PART + 1, 2 * PART, 5 * PART + 7])
def test_values_that_end_with_a_part(store: MemcachedStore, size: int) -> None:
    data = CHANCE.randbytes(size)
    name = store.put(data)
    assert store.get(name) == data
    assert store.take(name) == data


@pytest.mark.parametrize("limit", ["512k", "8m"])
def test_other_limits_of_items(limit: str) -> None:
    with Memcached(64, options=["-I", limit]) as server, MemcachedStore.open(server.url) as store:
        data = CHANCE.randbytes(3_000_000)
        name = store.put(data)
        assert store.get(name) == data


def test_what_strangers_do_is_noticed(store: MemcachedStore, client: Client) -> None:
    """Also where the right number of bytes stands in place of others."""
    for change in (
        lambda key: client.delete(key, noreply=False),
        lambda key: client.set(key, bytes(PART), 60, noreply=False),
        lambda key: client.set(key, b"short", 60, noreply=False),
        lambda key: client.append(key, b"more", noreply=False),
    ):
        name = store.put(CHANCE.randbytes(2 * PART))
        change(f"oche:value:{name}:1")
        for verb in (store.get, store.take):
            with pytest.raises(ValueLost):
                verb(name)
        store.delete(name)
    one, two = store.put(b"one"), store.put(b"two")
    client.set(f"oche:value:{one}:0", client.get(f"oche:value:{two}:0"), 60, noreply=False)
    with pytest.raises(ValueLost, match="is not what its owner put"):
        store.get(one)


def test_the_owner_renews_what_it_made(store: MemcachedStore, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PACE", 0.02)
    store.put(CHANCE.randbytes(2 * PART))
    half = parts.LIFE // 2
    for key in ends(client):
        client.touch(key, half, noreply=False)
    until(lambda: all(end > half + 5 for end in ends(client).values()), "all parts are renewed")


def test_a_forked_child_owns_nothing(store: MemcachedStore, client: Client) -> None:
    """And talks to the server on its own."""
    name = store.put(b"mine")
    child = os.fork()
    if not child:
        status = 1
        try:
            for _ in range(100):
                assert store.get(name) == b"mine"
            store.delete(name)
            store.put(b"a child's")
            store.close()
            status = 0
        finally:
            os._exit(status)
    other = store.put(b"other")
    for _ in range(100):
        assert store.get(other) == b"other"
    assert os.waitpid(child, 0)[1] == 0
    assert store.get(name) == b"mine"
    assert len(ends(client)) == 2


# Room


def test_what_it_drops_is_a_lost_value_and_never_a_wrong_one() -> None:
    with Memcached(2) as server, MemcachedStore.open(server.url) as store:
        assert not store.traits.keeps
        assert store.traits.max_value == 2 << 20
        values = {}
        for size in [100, 5000, 300_000, PART + 10] * 20:
            data = CHANCE.randbytes(size)
            try:
                values[store.put(data)] = data
            except StoreFull:  # of that size it has no room at all
                assert size > 5000
        found = 0
        for name, data in values.items():
            try:
                assert store.get(name) == data
                found += 1
            except ValueLost:
                pass
        assert 0 < found < len(values)
        with pytest.raises(StoreFull, match=r"3,000,000 bytes does not fit the 2,097,152"):
            store.put(bytes(3_000_000))


def test_one_that_rather_refuses() -> None:
    with Memcached(4, options=["-M"]) as server, MemcachedStore.open(server.url) as store:
        assert store.traits.keeps
        values = {}
        with suppress(StoreFull):
            while True:
                data = CHANCE.randbytes(700_000)
                values[store.put(data)] = data
        with pytest.raises(StoreFull, match="memcached -m"):
            store.put(bytes(700_000))
        client = Client(("127.0.0.1", server.port))
        assert {key.split(":")[2] for key in ends(client)} == set(values)
        client.close()
        assert all(store.get(name) == data for name, data in values.items())


# Connections


def test_a_server_that_dies() -> None:
    server = Memcached()
    server.start()
    store = MemcachedStore.open(server.url)
    name = store.put(b"x")
    server.kill()
    for verb in (
        lambda: store.get(name), lambda: store.take(name), lambda: store.put(b"y"),
        lambda: MemcachedStore.open(server.url),
    ):  # fmt: skip
        with pytest.raises(StoreError, match=f"memcached at 127.0.0.1:{server.port} cannot .* see that") as caught:
            verb()
        assert not isinstance(caught.value, ValueLost | StoreFull)
    server.start()
    again = store.put(b"again")
    server.kill()
    server.start()
    with pytest.raises(ValueLost, match="began anew"):  # over a connection that broke meanwhile
        store.get(again)
    server.kill()
    store.delete(again)
    store.close()


def test_an_interrupted_talk_is_not_gone_on_with(store: MemcachedStore) -> None:
    """A worker's child is called off by a signal that raises wherever it is."""

    class CalledOff(BaseException):
        pass

    def interrupted(client: Client) -> None:
        client.sock.sendall(f"get oche:value:{one}:0\r\n".encode())
        raise CalledOff

    one, two = store.put(b"one"), store.put(b"two")
    with pytest.raises(CalledOff):
        store._talk("be asked", interrupted)
    assert store.get(two) == b"two"


# Arrays and clusters


def test_an_array_travels_once_to_each_process(client: Client, store: MemcachedStore) -> None:
    a = np.arange(10_000.0)
    shared = share(store, a)
    with oche.connect("local:", max_workers=1) as cluster:
        before = gets(client)
        assert [cluster.submit(store_chores.total, shared).result(30) for _ in range(10)] == [a.sum()] * 10
    assert gets(client) - before == 1


def product(cluster: oche.Cluster, sides: tuple[int, int, int], dtype: str) -> bool:
    """Multiplies two matrices; whether that is right."""
    chance = np.random.default_rng(1)
    a, b = chance.integers(-9, 9, sides[:2]).astype(dtype), chance.integers(-9, 9, sides[1:]).astype(dtype)
    return np.array_equal(oche.matmul(a, b, cluster=cluster), a @ b)


def test_a_product_over_the_network(server: Memcached, client: Client, tmp_path: Path) -> None:
    """beanstalkd for the jobs, and for the blocks of the result, and memcached for the matrices."""
    farm = Farm("beanstalkd", tmp_path)
    try:
        with farm.connect(store=server.url) as cluster:
            before = gets(client)
            assert product(cluster, (150, 400, 150), "i2")
            assert gets(client) > before
            assert ends(client) == {}
            farm.children()[0].kill()
            assert product(cluster, (150, 400, 150), "i2")
    finally:
        farm.close()


def test_a_product_where_matrices_are_dropped() -> None:
    """Right, or a named error."""
    with Memcached(2) as server, oche.connect("local:", store=server.url, max_workers=2) as cluster:
        for side in (100, 300, 600):
            try:
                assert product(cluster, (side, side, side), "i8")
            except (ValueLost, StoreFull):
                assert side > 100
