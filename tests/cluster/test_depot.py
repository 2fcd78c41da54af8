"""What large jobs leave in the store: once for all jobs that name it, and no longer than that is good for."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from oche.cluster import depot as module
from oche.cluster.depot import Depot
from oche.errors import ValueLost
from oche.stores.files import FileStore
from oche.stores.seam import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with FileStore(str(tmp_path)) as store:
        yield store


def held(store: Store, tmp_path: Path) -> list[bytes]:
    paths = [path for path in tmp_path.glob("oche-*/*") if path.name != "owner"]
    return sorted(path.read_bytes() for path in paths)


def test_the_same_bytes_are_there_once(store: Store, tmp_path: Path) -> None:
    depot = Depot(store)
    one, two = depot.leave(b"same"), depot.leave(b"same")
    other = depot.leave(b"other")
    assert one == two
    assert held(store, tmp_path) == [b"other", b"same"]
    depot.done([one, two, other])
    assert depot.leave(b"same") == one  # it has stayed


def test_what_nobody_names_stays_up_to_so_many_bytes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE", 10)
    depot = Depot(store)
    kept = [depot.leave(bytes([65 + i]) * 4) for i in range(5)]
    assert len(held(store, tmp_path)) == 5
    depot.done(kept[:2])
    assert len(held(store, tmp_path)) == 5
    depot.leave(b"AAAA")
    depot.done(kept[2:])
    assert held(store, tmp_path) == [b"AAAA", b"DDDD", b"EEEE"]


def test_a_store_that_drops_values_keeps_none_in_reserve(store: Store, tmp_path: Path) -> None:
    store.traits = replace(store.traits, keeps=False)
    depot = Depot(store)
    one, two = depot.leave(b"x"), depot.leave(b"x")
    depot.done([one])
    assert held(store, tmp_path) == [b"x"]
    depot.done([two])
    assert held(store, tmp_path) == []


def test_what_was_lost_is_put_once_more_for_all(store: Store, tmp_path: Path) -> None:
    depot = Depot(store)
    one, two = depot.leave(b"x"), depot.leave(b"x")
    store.delete(one.name)
    first, second = depot.again(one), depot.again(two)
    assert first == second != one
    assert store.get(first.name) == b"x"
    depot.done([first, second])


def test_what_an_earlier_life_left(store: Store, tmp_path: Path) -> None:
    with FileStore(str(tmp_path)) as earlier:
        old = Depot(earlier).leave(b"x")
    depot = Depot(store)
    claimed = depot.claim(old, b"x")
    with pytest.raises(ValueLost):
        store.get(claimed.name)
    assert store.get(depot.again(claimed).name) == b"x"
    depot.done([claimed])


def test_threads_share_it(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE", 300)
    depot, failed = Depot(store), []

    def work(seed: int) -> None:
        try:
            for i in range(100):
                data = b"%d" % ((seed + i) % 7) * 100
                left = depot.leave(data)
                assert store.get(left.name) == data
                depot.done([left])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failed
    assert len(held(store, tmp_path)) <= 3
    store.close()
    assert os.listdir(tmp_path) == []
