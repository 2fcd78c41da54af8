"""The broker in a file."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from oche.errors import ConfigError, Disconnected, QueueError, QueueFull
from oche.queues.seam import Queue, TubeStats
from oche.queues.sqlite import SQLiteQueue
from oche.testing.queue_rig import Rig, delivered, take, until
from oche.testing.queue_suite import QueueSuite


def crash(queue: Queue) -> None:
    """What the death of a process does: the doorbell goes, and nothing is written."""
    assert isinstance(queue, SQLiteQueue)
    if queue._bell is not None:
        queue._bell.close()
    queue._file.close()
    queue._closed = True


class TestSQLiteQueue(QueueSuite):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        path = tmp_path / "queue.db"
        return Rig(open=lambda: SQLiteQueue(path), crash=crash, url=f"sqlite:///{path}", shortest_lease=0.1)


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def test_any_sequence_of_verbs_by_the_clock(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "queue.db"
    rig = Rig(open=lambda: SQLiteQueue(path, clock=clock), crash=crash, advance=clock.advance)
    QueueSuite().test_any_sequence_of_verbs_agrees_with_the_model(rig)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[SQLiteQueue]:
    with SQLiteQueue(tmp_path / "queue.db") as queue:
        yield queue


def start(program: str, *arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_eight_processes_make_the_file_at_the_same_moment(tmp_path: Path) -> None:
    program = """if True:
        import sys
        from oche.queues.sqlite import SQLiteQueue
        print("here", flush=True)
        sys.stdin.readline()
        with SQLiteQueue(sys.argv[1]) as queue:
            for number in range(20):
                queue.put("a", b"x")
                queue.delete(queue.reserve(["a"], 15.0))
            queue.put("b", b"done")
        """
    processes = [start(program, tmp_path / "queue.db") for _ in range(8)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with SQLiteQueue(tmp_path / "queue.db") as queue:
        assert queue.stats("a") == TubeStats(0, 0, 0, 0, 0, 0)
        assert queue.stats("b").ready == 8


def test_killed_while_they_hold_and_while_they_wait(queue: SQLiteQueue) -> None:
    """One process with a holder and two that wait: another's wait gets the job, the next put finds the living."""
    program = """if True:
        import sys, threading
        from oche.queues.sqlite import SQLiteQueue
        holder = SQLiteQueue(sys.argv[1])
        print(holder.reserve(["a"], 15.0).body, flush=True)
        for _ in range(2):
            threading.Thread(target=SQLiteQueue(sys.argv[1]).reserve, args=(["a"], 60.0)).start()
        """
    queue.put("a", b"first", lease=1000)
    with start(program, queue.path) as process, ThreadPoolExecutor() as pool, queue.clone() as other:
        assert process.stdout is not None
        assert process.stdout.readline() == b"b'first'\n"
        until(lambda: queue.stats("a").waiting == 2, "two waited")
        waiting = pool.submit(other.reserve, ["a"], 15.0)
        until(lambda: queue.stats("a").waiting == 3, "we waited too")
        process.send_signal(signal.SIGKILL)
        process.wait(15.0)
        killed = time.monotonic()
        assert delivered(waiting).body == b"first"
        assert time.monotonic() - killed < 3.0
        waiting = pool.submit(other.reserve, ["a"], 15.0)
        until(lambda: queue.stats("a").waiting == 1, "we waited again")
        queue.put("a", b"second")
        assert delivered(waiting).body == b"second"


def test_nothing_put_is_lost_by_kill_9(tmp_path: Path) -> None:
    program = """if True:
        import sys
        from oche.queues.sqlite import SQLiteQueue
        queue = SQLiteQueue(sys.argv[1])
        for number in range(10**9):
            queue.put("a", b"%d" % number)
            print(number, flush=True)
        """
    with start(program, tmp_path / "queue.db") as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(50)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.readlines()
    with SQLiteQueue(tmp_path / "queue.db") as queue:
        kept = [held.body for held in queue.reserve_many(["a"], 10**6, 0.0)]
        assert kept[: len(told)] == [line.strip() for line in told if line.endswith(b"\n")]
        assert len(kept) <= len(told) + 1


def test_a_full_disk_is_told_and_the_file_stays_sound(queue: SQLiteQueue) -> None:
    queue.put("a", b"before")
    pages = queue._file._db.execute("PRAGMA page_count").fetchone()[0]
    queue._file._db.execute(f"PRAGMA max_page_count = {pages + 3}")
    with pytest.raises(QueueFull, match="make room"):
        queue.put_many("a", [b"x" * 3000] * 50)
    assert queue.stats("a").ready == 1
    queue._file._db.execute("PRAGMA max_page_count = 1000000")
    queue.put("a", b"after")
    assert [take(queue, "a").body, take(queue, "a").body] == [b"before", b"after"]
    assert queue._file._db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_write_that_fails_in_the_middle_is_told_and_the_file_stays_sound(tmp_path: Path) -> None:
    """A limit to the size of files: what the disk refuses, it refuses in the log of the transaction."""
    program = """if True:
        import resource, sys
        from oche.errors import QueueFull
        from oche.queues.sqlite import SQLiteQueue
        queue = SQLiteQueue(sys.argv[1])
        queue.put("a", b"before")
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        stored = 1
        try:
            while True:
                queue.put("a", bytes(20_000))
                stored += 1
        except QueueFull:
            print(stored)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        queue.put("a", b"after")
        """
    with start(program, tmp_path / "queue.db") as process:
        stored = int(process.communicate(timeout=60)[0])
        assert process.returncode == 0
    with sqlite3.connect(tmp_path / "queue.db") as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    file.close()
    with SQLiteQueue(tmp_path / "queue.db") as queue:
        assert stored > 1
        assert queue.stats("a").ready == stored + 1


def test_after_a_fork_the_child_must_clone(queue: SQLiteQueue) -> None:
    queue.put("a", b"x")
    queue.put("a", b"y")
    held = take(queue, "a")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with pytest.raises(QueueError, match="clone"):
                queue.put("a", b"z")
            with queue.clone() as clone:
                clone.delete(take(clone, "a"))
            queue.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    queue.touch(held)
    assert queue.stats("a").ready == 0


def test_a_forked_child_does_not_keep_its_dead_parent_alive(queue: SQLiteQueue) -> None:
    program = """if True:
        import os, sys
        from oche.queues.sqlite import SQLiteQueue
        queue = SQLiteQueue(sys.argv[1])
        queue.reserve(["a"], 15.0)
        if os.fork() == 0:
            print(os.getpid(), flush=True)
            sys.stdin.read()
            os._exit(0)
        os.wait()
        """
    queue.put("a", b"x", lease=1000)
    with start(program, queue.path) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert queue.reserve(["a"], 0.0) is None
        process.send_signal(signal.SIGKILL)
        process.wait(15.0)
        os.kill(child, 0)  # it is still there
        assert take(queue, "a").body == b"x"


def test_a_file_that_was_deleted_or_replaced_is_a_broken_connection(queue: SQLiteQueue) -> None:
    queue.put("a", b"x")
    os.rename(queue.path, queue.path.with_suffix(".old"))
    for _ in range(2):
        with pytest.raises(Disconnected, match="deleted or replaced"):
            queue.put("a", b"x")


@pytest.mark.parametrize("content", [b"not a database, but long enough to look at" * 100, "CREATE TABLE mine (x)"])
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "file"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with sqlite3.connect(path) as database:
            database.execute(content)
        database.close()
    with pytest.raises(ConfigError, match="another file"):
        SQLiteQueue(path)


def test_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for url, name in [("sqlite:///a.db", "a.db"), (f"sqlite:///{tmp_path}/b.db", "b.db"), ("sqlite:///~/c.db", "c.db")]:
        with SQLiteQueue.open(url) as queue:
            assert queue.path == tmp_path / name
    for url in (
        "sqlite://host/a.db",
        "sqlite:///",
        "sqlite:a.db",
        "sqlite:///a.db?x=1",
        "sqlite:///no/such/directory/a.db",
    ):
        with pytest.raises(ConfigError):
            SQLiteQueue.open(url)


def test_a_sleeper_needs_next_to_no_time(queue: SQLiteQueue) -> None:
    before = time.thread_time()
    assert queue.reserve(["a"], 3.0) is None
    assert time.thread_time() - before < 0.02


def test_a_put_returns_when_it_is_on_the_disk_and_a_delete_does_not_wait(
    queue: SQLiteQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fdatasync

    def fdatasync(file: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{file}"))
        real(file)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    queue.put_many("a", [b"1", b"2", b"3"])
    assert synced == [f"{queue.path}-wal"]
    queue.delete(take(queue, "a"))
    queue.release(take(queue, "a"))
    assert len(synced) == 1
