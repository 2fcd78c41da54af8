"""Values in memory that the processes of this machine share."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from farms import until
from oche.errors import ConfigError, StoreError, StoreFull, Unsupported, ValueLost
from oche.stores.shared_memory import SharedMemoryStore
from oche.testing.store_rig import Process
from oche.testing.store_suite import Rig, StoreSuite

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="this store needs Linux")


def open_values(process: int | str = "self") -> list[str]:
    """Files of values that a process has open."""
    found = []
    for number in os.listdir(f"/proc/{process}/fd"):
        try:
            target = os.readlink(f"/proc/{process}/fd/{number}")
        except FileNotFoundError:  # that of the listing itself
            continue
        if target.startswith("/memfd:oche-"):
            found.append(target)
    return found


class TestSharedMemoryStore(StoreSuite):
    @pytest.fixture
    def rig(self) -> Rig:
        return Rig(open=SharedMemoryStore)


@pytest.mark.parametrize("url", ["memory:/x", "memory://", "memory:?a=b", "MEMORY:"])
def test_urls_that_cannot_be_right(url: str) -> None:
    with pytest.raises(ConfigError):
        SharedMemoryStore.open(url)


def test_what_now_has_the_files_number_is_not_the_value(tmp_path: Path) -> None:
    """Nor waited for: it may be a pipe that nobody writes to."""
    os.mkfifo(tmp_path / "pipe")
    with SharedMemoryStore() as store:
        name = store.put(b"x")
        number = int(name.split(".")[1])
        store.delete(name)
        reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        if reading != number:
            os.dup2(reading, number)
            os.close(reading)
        try:
            for verb in (store.get, store.take, lambda name: store.write(name, 0, b"y")):
                with pytest.raises(ValueLost):
                    verb(name)
        finally:
            os.close(number)


def test_a_file_that_is_lost_and_another_that_is_not() -> None:
    """One of the same number that is another value."""
    with SharedMemoryStore() as store:
        old = store.put(b"old")
        store.delete(old)
        new = store.put(b"new")
        assert old.split(".")[:2] == new.split(".")[:2]
        with pytest.raises(ValueLost, match="ended or deleted"):
            store.get(old)


@pytest.fixture
def few_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 8, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_more_files_is_no_room(few_files: None) -> None:
    with SharedMemoryStore() as store:
        names = []
        with suppress(StoreFull):
            while True:
                names.append(store.create(1))
        with pytest.raises(StoreFull, match="ulimit -n"):
            store.create(1)
        with pytest.raises(StoreError, match="raise this process's limits"):
            store.get(names[0])
        store.delete(names.pop())
        with pytest.raises(StoreError, match="raise this process's limits"):  # a mapping is a file, too
            store.take(names[0])
        store.delete(names.pop())
        assert store.get(names[0]) == b"\0"


def test_a_put_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_values()
    with SharedMemoryStore() as store:
        monkeypatch.setattr(store, "write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.put(b"x")
        assert open_values() == before


def test_small_results_that_are_kept_hold_no_files() -> None:
    """And large ones are mapped."""
    before = open_values()
    with SharedMemoryStore() as store:
        kept = [store.take(store.put(b"x" * 1000)) for _ in range(10)]
    assert open_values() == before
    assert all(taken == b"x" * 1000 for taken in kept)


def test_a_system_without_it_is_told_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    with pytest.raises(Unsupported, match="store='files:///path'"):
        SharedMemoryStore.open("memory:")


def test_a_piece_of_which_the_kernel_takes_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does of more than 2 GiB."""
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:7], at))
    with SharedMemoryStore() as store:
        name = store.create(30)
        store.write(name, 5, bytes(range(20)))
        assert store.get(name) == bytes(5) + bytes(range(20)) + bytes(5)


def test_what_cannot_be_mapped_is_said() -> None:
    program = (
        "import resource, sys; from oche.stores.opening import open_store; store = open_store('memory:');"
        "name = store.create(1 << 30); resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29));"
        "store.get(name)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "StoreError: a value of 1,073,741,824 bytes cannot be mapped" in done.stderr


def test_a_forked_child_holds_no_values() -> None:
    """It inherits all open files; without care a deleted value would stay as long as the child."""
    with SharedMemoryStore() as store, Process(store.url) as other:
        name = eval(other("store.put(b'x' * 1000)"))
        child = other.fork()
        try:
            until(lambda: open_values(child) == [], "the child has closed what it inherited")
            assert store.get(name) == b"x" * 1000
        finally:
            os.kill(child, 9)
