"""Every kind of flag: one face, the same flag in every process that it reaches, and nothing left behind."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psutil
import pytest
from sharers import Other, environment, leftovers, other, until

from oche.errors import ConfigError, StoreError, Unsendable, ValueLost
from oche.sharing.flag import Flag, Reach
from oche.sharing.flag_file import FileFlag
from oche.sharing.flag_manager import ManagerFlag
from oche.sharing.flag_memory import MemoryFlag
from oche.sharing.flag_mmap import MmapFlag
from oche.sharing.flag_raw_value import RawValueFlag
from oche.sharing.flag_redis import KEY, RedisFlag
from oche.sharing.flag_shared_memory import SharedMemoryFlag
from oche.testing.servers import Redis, free_port, missing

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

KINDS: list[type[Flag]] = [
    MemoryFlag, MmapFlag, SharedMemoryFlag, RawValueFlag, FileFlag, ManagerFlag, RedisFlag,
]  # fmt: skip


@pytest.fixture(scope="module")
def redis():
    missing("redis-server", "redis")
    with Redis() as server:
        yield server


def make(kind, redis, folder) -> Flag:
    if kind is FileFlag:
        return FileFlag(folder / "flag")
    return RedisFlag(redis.url) if kind is RedisFlag else kind()


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def flag(request, tmp_path):
    server = request.getfixturevalue("redis") if request.param is RedisFlag else None
    with make(request.param, server, tmp_path) as made:
        yield made


def test_it_is_clear_then_set_then_clear(flag):
    assert flag.is_set() is False
    for _ in range(2):
        flag.set()
        assert flag.is_set() is True
    for _ in range(2):
        flag.clear()
        assert flag.is_set() is False


WAYS = {"fork": Reach.FORK, "spawn": Reach.CHILD, "unrelated": Reach.MACHINE}


@pytest.mark.parametrize("way", WAYS)
def test_it_is_the_same_flag_in_another_process(flag, way):
    if flag.reach < Reach.FAMILY and flag.reach < WAYS[way]:
        with pytest.raises(Unsendable):
            pickle.dumps(flag)
        return
    if flag.reach < WAYS[way]:  # a pickle that nobody outside the family can use: its key stays in the family
        with pytest.raises((BrokenPipeError, EOFError)):
            Other(flag, way, stderr=subprocess.DEVNULL)
        return
    flag.set()
    with other(flag, way) as there:
        assert there("is_set") is True
        flag.clear()
        assert there("is_set") is False
        there("set")
        assert flag.is_set() is True
        there("clear")
        assert flag.is_set() is False
        there("set")
        there("close")
        there("close")
        assert flag.is_set() is True  # a copy's close ends the copy alone


def look(flag: Flag) -> bool:
    return flag.is_set()


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        executor.submit(os.getpid).result(30)
        yield executor


def test_it_travels_to_a_process_that_runs_already_or_says_why_not(flag, pool):
    flag.set()
    if flag.reach >= Reach.FAMILY:
        assert pool.submit(look, flag).result(30) is True
    else:
        with pytest.raises(Unsendable, match="take a MemoryFlag"):
            pool.submit(look, flag).result(30)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_when_it_is_closed_or_an_error_comes(kind, request, tmp_path):
    server = request.getfixturevalue("redis") if kind is RedisFlag else None
    before, children = leftovers(), len(psutil.Process().children())
    flag = make(kind, server, tmp_path)
    flag.set()
    flag.close()
    flag.close()
    with pytest.raises(ZeroDivisionError), make(kind, server, tmp_path) as flag:
        1 / flag.is_set()
    del flag
    assert (leftovers() - before, list(tmp_path.iterdir())) == (set(), [])
    assert len(psutil.Process().children()) <= max(children, 1)  # one: the resource tracker, once for all


MAKER = """
import sys, time
import test_flags
if __name__ == "__main__":
    flag = getattr(test_flags, sys.argv[1])()
    flag.set()
    print(flag.is_set(), flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", [MemoryFlag, MmapFlag, SharedMemoryFlag, RawValueFlag, ManagerFlag])
def test_nothing_is_left_when_its_maker_is_killed(kind, tmp_path):
    before = leftovers()
    script = tmp_path / "maker.py"
    script.write_text(MAKER)
    (tmp_path / "temporary").mkdir()
    maker = subprocess.Popen(
        [sys.executable, str(script), kind.__name__], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=environment(TMPDIR=str(tmp_path / "temporary")),
    )  # fmt: skip
    assert maker.stdout is not None
    assert maker.stdout.readline() == b"True\n"
    family = psutil.Process(maker.pid).children(recursive=True)
    maker.send_signal(signal.SIGKILL)
    maker.wait(10)
    maker.stdout.close()
    until(lambda: not [child for child in family if child.is_running()], "its helpers end")
    until(lambda: leftovers() <= before, "/dev/shm is as before")
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_flag_whose_maker_is_gone_says_so(tmp_path, redis):
    for kind in (MemoryFlag, SharedMemoryFlag, FileFlag):
        flag = make(kind, redis, tmp_path)
        data = pickle.dumps(flag)
        flag.close()
        with pytest.raises(ValueLost):
            pickle.loads(data)
    flag = RedisFlag(redis.url)
    copy = pickle.loads(pickle.dumps(flag))
    flag.close()
    with pytest.raises(ValueLost, match="not in Redis"):
        copy.is_set()
    copy.close()
    manager = ManagerFlag()
    with other(manager, "spawn") as there:
        manager.close()
        with pytest.raises(ValueLost, match="has ended"):
            there("is_set")


def test_redis_cli_reads_it(redis):
    def cli() -> bytes:
        command = ["redis-cli", "-p", str(redis.port), "get", KEY]
        return subprocess.run(command, capture_output=True, timeout=10, check=True).stdout

    missing("redis-cli")
    with RedisFlag(redis.url) as flag:
        assert cli() == b"0\n"
        flag.set()
        assert cli() == b"1\n"
    assert cli() == b"\n"


def test_redis_that_is_not_there_or_cannot_be():
    with pytest.raises(StoreError, match="see that the server runs"):
        RedisFlag(f"redis://127.0.0.1:{free_port()}")
    with pytest.raises(ConfigError, match="no address of Redis"):
        RedisFlag("http://me:secret@host")


def test_redis_without_its_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r"pip install 'oche\[redis\]'"):
        RedisFlag()


def test_anybody_reads_the_file(tmp_path):
    path = tmp_path / "found"
    with FileFlag(path) as flag:
        assert path.read_text() == "0"
        flag.set()
        assert path.read_text() == "1"
    assert not path.exists()
    with pytest.raises(ConfigError, match="choose another path"):
        FileFlag(tmp_path / "nowhere" / "flag")


def test_what_a_killed_maker_left_is_cleared_by_the_next(tmp_path, redis):
    path = Path(tmp_path / "flag")
    path.write_text("1 and more")
    with FileFlag(path) as flag:
        assert (flag.is_set(), path.read_text()) == (False, "0")
    with RedisFlag(redis.url, "left") as first:
        first.set()
        with RedisFlag(redis.url, "left") as second:
            assert second.is_set() is False


def test_a_compiled_loop_takes_the_byte_as_its_stop_byte():
    from concurrent.futures import CancelledError

    from oche.kernels.darts import count

    for kind in (MemoryFlag, MmapFlag, SharedMemoryFlag):
        with kind() as flag:
            assert count(0, 1000, 0, flag.byte) > 0
            flag.set()
            with pytest.raises(CancelledError):
                count(0, 1000, 0, flag.byte)
