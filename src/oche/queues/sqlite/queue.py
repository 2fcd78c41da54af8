"""A broker in one SQLite file, for the processes of one machine; nothing else has to run.

A put returns when the job is on the disk, though a worker may have it sooner. The other verbs do not wait for
the disk: a power cut may forget a delete, and then the job is handed out again. A job that becomes ready is
handed to the connection that has waited longest, in the same transaction, and its doorbell is rung after the
commit: no wake-up is lost, and no core is spent on polling. A doorbell that refuses proves that its owner died:
what it held is ready again before the lease ends. Leases run on the monotonic clock, delays on the wall clock,
since they outlive a reboot.

The file must lie on a local disk: SQLite's write-ahead log does not work over a network.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from oche.errors import Closed, Disconnected, LeaseLost, QueueError
from oche.queues.doorbell import Doorbell, alive, ring
from oche.queues.seam import DEFAULT_LEASE, DEFAULT_PRIORITY, Delivery, Peeked, Queue, Report, State, Traits, TubeStats
from oche.queues.sqlite.file import QueueFile, path_of
from oche.queues.sqlite.jobs import MAX_BODY, Jobs, Taken

#: Seconds between two looks of a sleeper for holders that died.
PACE = 1.0


@dataclass(frozen=True, slots=True)
class _Hold:
    """What a delivery stands for: this reserve of this connection. Neither number comes twice in a file."""

    queue: SQLiteQueue
    id: int
    reserves: int
    attempts: int


class SQLiteQueue(Queue):
    """One connection to the file. After a fork, the child must `clone` it."""

    traits = Traits(
        durable=True, delay=True, priority=True, touch=True, bury=True, signal=True, fanout=False, peek=True,
        counts=True, max_body=MAX_BODY, signal_pace=0.05,
    )  # fmt: skip

    def __init__(self, path: str | Path, *, clock: Callable[[], float] | None = None) -> None:
        """Opens or creates the file, or raises `ConfigError`; `clock`, for tests, stands for both clocks."""
        self.path = Path(path).expanduser().absolute()
        self._clock = clock
        self._file = QueueFile(self.path)
        self._jobs = Jobs(self._file, clock=clock)
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._closed = False
        self._bell: Doorbell | None = None
        self._me = 0  # our row in connections, from the first reserve on
        self._watched: tuple[str, ...] | None = None  # as stored; None: not known
        self._waiting = False  # stored as waiting

    @classmethod
    def open(cls, url: str) -> Self:
        """`sqlite:///relative/path`, `sqlite:////absolute/path` or `sqlite:///~/path`."""
        return cls(path_of(url))

    @classmethod
    def missing(cls, url: str) -> str:
        return "" if (path := path_of(url)).exists() else f"there is no queue file {path}"

    def clone(self) -> Self:
        return type(self)(self.path, clock=self._clock)

    def put(
        self, tube: str, body: bytes, *,
        priority: int = DEFAULT_PRIORITY, delay: float = 0.0, lease: float = DEFAULT_LEASE,
    ) -> str:  # fmt: skip
        return self.put_many(tube, (body,), priority=priority, delay=delay, lease=lease)[0]

    def put_many(
        self, tube: str, bodies: Iterable[bytes], *,
        priority: int = DEFAULT_PRIORITY, delay: float = 0.0, lease: float = DEFAULT_LEASE,
    ) -> list[str]:  # fmt: skip
        """All in one transaction: either all are stored or none."""
        with self._transaction(synced=True):
            return [str(id) for id in self._jobs.add(tube, list(bodies), priority, delay, lease)]

    def reserve(self, tubes: Sequence[str], timeout: float) -> Delivery | None:
        return next(iter(self.reserve_many(tubes, 1, timeout)), None)

    def reserve_many(
        self, tubes: Sequence[str], limit: int, timeout: float, *, done: Iterable[Delivery] = ()
    ) -> list[Delivery]:
        end = time.monotonic() + timeout
        jobs = self._jobs
        with self._lock:
            self._enlist()
            try:
                while True:
                    with self._transaction():
                        self._delete(done)
                        got = jobs.wait_no_more(self._me) if self._waiting else []
                        if self._watched != tuple(tubes):
                            jobs.watch(self._me, tubes)
                            self._watched = tuple(tubes)
                        jobs.settle(tubes)
                        got += self._take(tubes, limit - len(got))
                        if not got and jobs.bury_dead(tubes):
                            got = self._take(tubes, limit)
                        left = end - time.monotonic()
                        wait = not got and left > 0
                        if wait:
                            self._wait()
                            left = min(left, jobs.next_due(tubes))
                            holders = jobs.holders(tubes)
                            seen = self._file.version_of_data()
                    done = ()
                    self._waiting = wait
                    if not wait:
                        return [Delivery(job.body, _Hold(self, job.id, job.reserves, job.attempts)) for job in got]
                    self._sleep(left, tubes, holders, seen)
            finally:
                if self._waiting:  # an exception: what was handed over meanwhile goes back
                    self._waiting = False
                    with suppress(QueueError), self._transaction(closing=True):
                        for job in jobs.wait_no_more(self._me):
                            jobs.make_ready(job.id)

    def _enlist(self) -> None:
        """Makes this connection known, in a transaction of its own: its number counts only once it is on record."""
        if self._me == 0:
            self._check_open()
            self._bell = self._bell or Doorbell()
            with self._transaction():
                sql = "INSERT INTO connections (doorbell) VALUES (?)"
                me = self._file.execute(sql, (self._bell.address,)).lastrowid
            self._me = me or 0

    def _take(self, tubes: Sequence[str], limit: int) -> list[Taken]:
        return [self._jobs.take(id, self._me) for id in self._jobs.best(tubes, max(limit, 0))]

    def _wait(self) -> None:
        if not self._jobs.wait(self._me):
            raise Disconnected(
                "another process found our doorbell dead; processes that share a queue's file must share "
                "one network namespace too"
            )

    def _sleep(self, seconds: float, tubes: Sequence[str], holders: dict[int, str | None], seen: int) -> None:
        """Returns when there is something to look for: the bell rang, the time is over, or a holder died."""
        assert self._bell is not None
        until = time.monotonic() + seconds
        while not self._closed:
            left = until - time.monotonic()
            if self._bell.wait(min(left, PACE)) or left <= PACE:
                break
            if (now := self._file.version_of_data()) != seen:
                with self._file.reading():
                    seen, holders = now, self._jobs.holders(tubes)
                    if self._jobs.was_handed(self._me):  # by one who died before it rang
                        break
            if not all(bell and alive(bell) for bell in holders.values()):
                break
        self._check_open()

    def attempts(self, delivery: Delivery) -> int:
        return self._hold(delivery).attempts

    def touch(self, delivery: Delivery) -> None:
        with self._transaction():
            self._jobs.touch(self._mine(delivery))

    def release(self, delivery: Delivery, *, delay: float = 0.0) -> None:
        with self._transaction():
            self._jobs.release(self._mine(delivery), delay)

    def bury(self, delivery: Delivery, body: bytes | None = None) -> None:
        with self._transaction():
            self._jobs.bury(self._mine(delivery), body)

    def delete(self, delivery: Delivery) -> None:
        with self._transaction():
            self._jobs.delete(self._mine(delivery))

    def delete_many(self, deliveries: Iterable[Delivery]) -> None:
        with self._transaction():
            self._delete(deliveries)

    def _delete(self, deliveries: Iterable[Delivery]) -> None:
        for delivery in deliveries:
            with suppress(LeaseLost):
                self._jobs.delete(self._mine(delivery))

    def _mine(self, delivery: Delivery) -> int:
        """The id of the job, if it is still held by that very reserve."""
        hold = self._hold(delivery)
        if not self._jobs.holds(self._me, hold.id, hold.reserves):
            raise LeaseLost(f"job {hold.id} is no longer held here; drop it, somebody else has it or it is done")
        return hold.id

    def _hold(self, delivery: Delivery) -> _Hold:
        hold = delivery.handle
        if not isinstance(hold, _Hold) or hold.queue is not self:
            raise LeaseLost("the job was handed to another connection; use the queue that reserved it")
        return hold

    def kick(self, tube: str, limit: int) -> int:
        with self._transaction():
            self._jobs.settle((tube,))
            return self._jobs.kick(tube, max(0, limit))

    def peek(self, tube: str, state: State) -> Peeked | None:
        with self._transaction():
            self._jobs.settle((tube,))
            return self._jobs.peek(tube, state)

    def discard(self, id: str) -> bool:
        with self._transaction():
            return id.isdecimal() and int(id) < 2**63 and self._jobs.discard(int(id))

    def stats(self, tube: str) -> TubeStats:
        with self._transaction():
            self._jobs.bury_dead()
            self._jobs.settle((tube,))
            return self._jobs.stats(tube)

    def tubes(self, prefix: str) -> list[str]:
        with self._transaction():
            self._jobs.bury_dead()
            return self._jobs.tubes(prefix)

    def signal(self, name: str) -> None:
        with self._transaction():
            self._file.execute("INSERT OR IGNORE INTO signals VALUES (?)", (name,))

    def signals(self, prefix: str) -> set[str]:
        with self._lock:
            self._check_open()
            with self._file.reading():
                rows = self._file.execute("SELECT name FROM signals WHERE name >= ?", (prefix,)).fetchall()
            return {name for (name,) in rows if name.startswith(prefix)}

    def unsignal(self, name: str) -> None:
        with self._transaction():
            self._file.execute("DELETE FROM signals WHERE name = ?", (name,))

    def inspect(self) -> Report:
        self._check_open()
        with self._lock, self._file.reading():
            return self._file.settings()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._pid != os.getpid():
            return  # file and doorbell are the parent's
        if self._bell is not None:
            ring(self._bell.address)
        with self._lock:
            self._file.roll_back()  # of the verb, if a signal handler of this very thread closes
            if self._me:
                with suppress(QueueError), self._transaction(closing=True):
                    self._jobs.forget(self._me)
            self._file.close()
            if self._bell is not None:
                self._bell.close()

    @contextmanager
    def _transaction(self, *, synced: bool = False, closing: bool = False) -> Iterator[None]:
        """Commits what is done within and rings the doorbells, or does nothing if it raises."""
        to_ring = self._jobs.to_ring
        with self._lock:
            if not closing:
                self._check_open()
            try:
                with self._file.transaction():
                    yield
            except BaseException:
                to_ring.clear()
                self._watched = None
                raise
            while to_ring:
                connection, address = to_ring.pop()
                if not ring(address):
                    with self._file.transaction():
                        self._jobs.forget(connection)
            if synced:
                self._file.sync()

    def _check_open(self) -> None:
        if self._pid != os.getpid():
            raise QueueError(f"the queue {self.path} was opened before this process was forked; clone() it here")
        if self._closed:
            raise Closed(f"the queue {self.path} was closed; clone() or open another one")
