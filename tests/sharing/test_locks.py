"""Locks keep others out as long as their holder lives, and no longer."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import time

import filelock
import pytest
from sharers import leftovers, other, take_and_tell

from oche.errors import ConfigError, LockHeld, StoreError, ValueLost
from oche.sharing.arrays import SharedArray
from oche.sharing.locks import FileLock, Lock

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

WAYS = ["fork", "spawn", "unrelated"]


@pytest.fixture(params=["memory", "file"])
def lock(request, tmp_path):
    if request.param == "file":
        yield FileLock(tmp_path / "lock", timeout=20)
    else:
        made = Lock(timeout=20)
        yield made
        made.close()


@pytest.mark.parametrize("way", WAYS)
def test_it_keeps_another_process_out_and_says_who_holds_it(lock, way):
    with other(lock, way) as there:
        with lock:
            assert lock.holder is not None
            began = time.monotonic()
            answer = there("take_and_tell", 0.2)
            assert 0.2 <= time.monotonic() - began < 5
            assert f"within 0.2 s: process {os.getpid()}" in answer
        assert lock.holder is None
        assert there("take_and_tell", 5) == "got it"
        assert f"process {there.pid}" in take_and_tell(lock, 0.05)
        there("release")
        with lock:
            assert lock.left_by is None


@pytest.mark.parametrize("way", WAYS)
def test_a_killed_holder_does_not_keep_it(lock, way):
    with other(lock, way) as there:
        assert there("take_and_tell", 5) == "got it"
        assert "holds it" in take_and_tell(lock, 0)
        there.process.kill()
        there.process.wait() if there.unrelated else there.process.join()
        with lock:
            assert lock.left_by is not None
            assert f"process {there.pid}" in lock.left_by
        with lock:
            assert lock.left_by is None


def test_a_child_forked_while_it_was_held_does_not_keep_it(lock):
    """The holder forks and is killed; its child lives on, with copies of all that was open."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    holder = context.Process(target=_hold_and_fork, args=(lock, there))
    holder.start()
    assert here.poll(20)
    child = here.recv()
    try:
        assert "holds it" in take_and_tell(lock, 0.05)
        holder.kill()
        holder.join()
        os.kill(child, 0)
        assert take_and_tell(lock, 5) == "got it"
        assert lock.left_by is not None
        lock.release()
    finally:
        os.kill(child, 9)


def _hold_and_fork(lock, pipe) -> None:
    lock.acquire()
    ready = multiprocessing.get_context("fork").Event()
    child = multiprocessing.get_context("fork").Process(target=_linger, args=(ready,))
    child.start()
    assert ready.wait(10)
    pipe.send(child.pid)
    time.sleep(60)


def _linger(ready) -> None:
    ready.set()
    time.sleep(60)


def test_a_forked_child_takes_it_for_itself(lock):
    """It inherits the object while the parent holds the lock, and must neither have it nor give it away."""
    with lock, other(lock, "fork") as there:
        assert "holds it" in there("take_and_tell", 0.05)
        with pytest.raises(RuntimeError, match="not held here"):
            there("release")
        assert "holds it" in there("take_and_tell", 0.05)
        with other(lock, "spawn") as third:
            assert "holds it" in third("take_and_tell", 0.05)


def test_a_child_of_a_bare_fork_is_kept_out(lock):
    with lock:
        child = os.fork()
        if not child:
            kept_out = "holds it" in take_and_tell(lock, 0.05)
            os._exit(7 if kept_out else 8)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert "holds it" in take_and_tell(pickle.loads(pickle.dumps(lock)), 0)


def test_no_update_is_lost_under_it(lock):
    times = 1000
    with SharedArray.create((), "i8") as cell:
        others = [other(lock, way) for way in ("fork", "spawn", "unrelated")]
        theirs = [there.__enter__() for there in others]
        for there in theirs:
            there.begin("add_under", cell, times)
        assert [there.end() for there in theirs] == [None] * 3
        assert int(cell.array) == 3 * times
        for there in others:
            there.__exit__(None, None, None)


def test_threads_keep_each_other_out(lock):
    value = [0]

    def add() -> None:
        for _ in range(200):
            with lock:
                seen = value[0]
                time.sleep(0)
                value[0] = seen + 1

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value == [600]


def test_it_is_not_reentrant(lock):
    with lock:
        assert f"process {os.getpid()}" in take_and_tell(lock, 0.01)
    with pytest.raises(RuntimeError, match="not held here"):
        lock.release()


def test_copies_in_one_process_keep_each_other_out(lock):
    copy = pickle.loads(pickle.dumps(lock))
    with lock:
        assert "holds it" in take_and_tell(copy, 0.01)
        with pytest.raises(RuntimeError):
            copy.release()
    with copy, pytest.raises(LockHeld):
        lock.acquire(0)
    assert copy.timeout == 20


@pytest.mark.parametrize("timeout", [-1, float("inf"), float("nan")])
def test_every_wait_has_an_end(lock, timeout, tmp_path):
    with pytest.raises(ConfigError, match="a wait has an end"):
        lock.acquire(timeout)
    with pytest.raises(ConfigError):
        Lock(timeout=timeout)
    with pytest.raises(ConfigError):
        FileLock(tmp_path / "other", timeout=timeout)


def test_a_stale_lock_file_is_recognised(tmp_path):
    lock = FileLock(tmp_path / "lock")
    assert (lock.stale, lock.holder) == (False, None)
    with other(lock, "spawn") as there:
        assert there("take_and_tell", 5) == "got it"
        assert (lock.stale, lock.holder) == (False, f"process {there.pid} on {os.uname().nodename}")
        pid = there.pid
    assert lock.stale is True
    with lock:
        assert lock.stale is False
        assert lock.left_by == f"process {pid} on {os.uname().nodename}"
    assert (lock.stale, lock.holder) == (False, None)


def test_it_is_the_lock_of_the_library(tmp_path):
    lock, theirs = FileLock(tmp_path / "lock"), filelock.FileLock(tmp_path / "lock")
    with theirs:
        assert "somebody holds it" in take_and_tell(lock, 0.01)
    with lock, pytest.raises(filelock.Timeout):
        theirs.acquire(timeout=0)


def test_a_path_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="choose another path"):
        FileLock(tmp_path / "file" / "lock").acquire(0)


def test_nothing_is_left(tmp_path):
    before, files = leftovers(), len(os.listdir("/proc/self/fd"))
    lock = Lock()
    lock.acquire()
    lock.close()  # while it is held
    lock.close()
    with pytest.raises(ValueLost, match="was closed here"):
        lock.acquire()
    with pytest.raises(ZeroDivisionError), Lock():
        1 / 0  # noqa: B018
    assert (leftovers() - before, len(os.listdir("/proc/self/fd"))) == (set(), files)
