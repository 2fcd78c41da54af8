"""Locks between processes that a killed holder does not keep: the kernel takes them back with its open file.

    lock = Lock()                          # given to other processes by pickle or fork
    with lock:                             # waits `timeout` seconds at most, then raises LockHeld
        if lock.left_by:                   # who held it last was killed: what it guards may be half done
            repair()

`Lock` is between processes that share an object, `FileLock` between all that know a path.
"""

from __future__ import annotations

import fcntl
import math
import os
import threading
import time
from abc import ABC, abstractmethod
from multiprocessing import util
from pathlib import Path
from typing import Self

import filelock

from oche.errors import ConfigError, LockHeld, StoreError, ValueLost
from oche.sharing.memory import Memory, try_lock

#: Seconds to wait for a lock if nobody says how long.
PATIENCE = 60.0
#: First and longest pause between two tries, in seconds.
PAUSES = 20e-6, 1e-3
#: Bytes kept for the note of who holds a lock.
NOTE = 64


class Mutex(ABC):
    """What both locks have in common: a wait that has an end, and a note of who holds them. Not reentrant.

    No fairness is promised: who asks at the right moment gets it.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = _seconds(timeout)
        #: Who was killed holding the lock before it was taken here; None if it had been given back.
        self.left_by: str | None = None
        self._start_over()
        util.register_after_fork(self, type(self)._start_over)

    def acquire(self, timeout: float | None = None) -> None:
        """Waits until nobody else holds it. Raises `LockHeld` when `timeout` seconds are over (its own, if None)."""
        seconds = self.timeout if timeout is None else _seconds(timeout)
        if self._pid != os.getpid():  # forked by os.fork, which nobody told us
            self._start_over()
        end = time.monotonic() + seconds
        taken = False
        if self._threads.acquire(timeout=min(seconds, threading.TIMEOUT_MAX)):
            try:
                taken = self._wait(end)
            finally:
                if not taken:
                    self._threads.release()
        if not taken:
            raise LockHeld(
                f"{self!r} was not free within {seconds:g} s: {self.holder or 'somebody'} holds it; "
                "give more time (timeout=...), or end that process"
            )
        self._mine = True
        self.left_by = self.holder
        self._note(self._myself())

    def release(self) -> None:
        """Gives it back. Raises `RuntimeError` if this object does not hold it."""
        if not self._mine or self._pid != os.getpid():
            raise RuntimeError(f"{self!r} is not held here, so it cannot be released")
        self._mine = False
        self._note("")
        self._give()
        self._threads.release()

    @property
    @abstractmethod
    def holder(self) -> str | None:
        """Who holds it, or was killed holding it; None if nobody."""

    def _start_over(self) -> None:
        """At first, and in a forked child: what its parent holds, it does not."""
        self._pid = os.getpid()
        self._threads = threading.Lock()  # between threads of this process; the kernel's is between processes
        self._mine = False

    def _myself(self) -> str:
        return f"process {os.getpid()}"

    @abstractmethod
    def _wait(self, end: float) -> bool:
        """Takes the kernel's lock, or returns False at this time."""

    @abstractmethod
    def _give(self) -> None:
        """Gives the kernel's lock back."""

    @abstractmethod
    def _note(self, text: str) -> None:
        """Writes down the holder; only ever done while holding."""

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Lock(Mutex):
    """Mutual exclusion of the threads and processes that have this object, by pickle or by fork.

    It is `flock` on a file in memory, opened anew in each process: the kernel gives it back however a holder ends.
    A child that `os.fork` made while the lock was held, not multiprocessing, keeps it held until it ends, too.
    """

    def __init__(self, *, timeout: float = PATIENCE, memory: Memory | None = None) -> None:
        """A new lock; `memory` is for copies in other processes."""
        self._memory = Memory.create(NOTE) if memory is None else memory
        self._notes = self._memory.map()
        self._own: Memory | None = None
        super().__init__(timeout)

    @property
    def holder(self) -> str | None:
        if self._own is None:
            return None
        return self._notes[:NOTE].rstrip(b"\0").decode(errors="replace") or None

    def close(self) -> None:
        """Not to be used here any more; a hold ends with it. May be called twice."""
        if self._own is not None:
            if self._mine:
                self.release()
            self._own.close()
            self._own = None
            self._notes.close()
            self._memory.close()

    def _start_over(self) -> None:
        super()._start_over()
        if self._own is not None:
            self._own.close()
        self._own = self._memory.reopen()

    def _wait(self, end: float) -> bool:
        if self._own is None:
            raise ValueLost("this Lock was closed here; make another, or close it later")
        pause, longest = PAUSES
        while not try_lock(self._own, fcntl.LOCK_EX):
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(pause, left))
            pause = min(2 * pause, longest)
        return True

    def _give(self) -> None:
        assert self._own is not None
        fcntl.flock(self._own.fd, fcntl.LOCK_UN)

    def _note(self, text: str) -> None:
        self._notes[:NOTE] = text.encode()[:NOTE].ljust(NOTE, b"\0")

    def __reduce__(self) -> tuple[object, ...]:
        return _lock, (self.timeout, self._memory)

    def __repr__(self) -> str:
        return "this Lock"


def _lock(timeout: float, memory: Memory) -> Lock:
    return Lock(timeout=timeout, memory=memory)


class FileLock(Mutex):
    """Mutual exclusion of all that know a path: `filelock.FileLock` with a note of its holder in the file.

    The file stays when the lock is given back, blank. One with a note in it that nobody holds is stale, and no
    obstacle: its holder was killed, and `left_by` says who that was.
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = PATIENCE) -> None:
        self.path = Path(path).absolute()
        super().__init__(timeout)

    @property
    def holder(self) -> str | None:
        try:
            return self.path.read_text(errors="replace")[:NOTE].strip() or None
        except OSError:
            return None

    @property
    def stale(self) -> bool:
        """Whether there is a note of a holder who holds it no more, since that was killed."""
        if self._mine or self.holder is None:
            return False
        try:
            with filelock.FileLock(self.path, timeout=0):
                return self.holder is not None
        except filelock.Timeout:
            return False

    def _start_over(self) -> None:
        super()._start_over()
        self._lock = filelock.FileLock(self.path, poll_interval=PAUSES[1], thread_local=False)

    def _myself(self) -> str:
        return f"{super()._myself()} on {os.uname().nodename}"

    def _wait(self, end: float) -> bool:
        try:
            self._lock.acquire(timeout=max(0.0, end - time.monotonic()))
        except filelock.Timeout:
            return False
        except OSError as error:
            raise StoreError(f"no lock can be had at {self.path}: {error.strerror}; choose another path") from error
        return True

    def _give(self) -> None:
        self._lock.release()

    def _note(self, text: str) -> None:
        # Written over in place: a file that is emptied first is brought to the disk, which takes milliseconds.
        fd = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(fd, text.encode()[: NOTE - 1].ljust(NOTE - 1) + b"\n", 0)
        finally:
            os.close(fd)

    def __reduce__(self) -> tuple[object, ...]:
        return _file_lock, (self.path, self.timeout)

    def __repr__(self) -> str:
        return f"the lock {self.path}"


def _file_lock(path: Path, timeout: float) -> FileLock:
    return FileLock(path, timeout=timeout)


def _seconds(timeout: float) -> float:
    if not 0 <= timeout < math.inf:
        raise ConfigError(f"timeout={timeout!r}: a wait has an end; give seconds from 0 on")
    return timeout
