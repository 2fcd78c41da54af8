"""The broker inside this process, for engines on one machine and for tests: connections to a `Broker`."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Sequence
from typing import Self, cast

from oche.errors import Closed, LeaseLost
from oche.queues.memory.broker import Broker, Job, Tube
from oche.queues.seam import DEFAULT_LEASE, DEFAULT_PRIORITY, Delivery, Peeked, Queue, State, Traits, TubeStats

_TRAITS = Traits(
    durable=False, delay=True, priority=True, touch=True, bury=True, signal=True, fanout=False, peek=True, counts=True,
    max_body=None, signal_pace=0.01,
)  # fmt: skip


class MemoryQueue(Queue):
    """A connection to a `Broker` of this process; `MemoryQueue(broker)` makes another, and so does `clone`."""

    traits = _TRAITS

    def __init__(self, broker: Broker | None = None) -> None:
        self._broker = Broker() if broker is None else broker
        self.life = self._broker.life
        self._closed = False
        self._names: tuple[str, ...] = ()
        self._bell = threading.Lock()
        self._bell.acquire()
        self._rung = False
        self._handed: Job | None = None
        # For the broker's eyes:
        self.held: dict[int, Job] = {}
        self.tubes_watched: list[Tube] = []
        self.wakes = 0.0  # when a blocked reserve looks up by itself

    @classmethod
    def open(cls, url: str) -> Self:
        """A new broker with nothing in it, whatever the URL; `clone` it for more connections."""
        return cls()

    def clone(self) -> Self:
        return type(self)(self._broker)

    def put(
        self, tube: str, body: bytes, *,
        priority: int = DEFAULT_PRIORITY, delay: float = 0.0, lease: float = DEFAULT_LEASE,
    ) -> str:  # fmt: skip
        with self._broker.lock:
            self._check_open()
            return str(self._broker.put(tube, body, priority, delay, lease))

    def reserve(self, tubes: Sequence[str], timeout: float) -> Delivery | None:
        broker = self._broker
        with broker.lock:
            self._check_open()
            self._watch(tubes)
            end = broker.advance() + timeout
            job = broker.best(self.tubes_watched)
            if job is not None:
                broker.hold(job, self)
            elif timeout > 0:
                job = self._wait(end)
        return None if job is None else Delivery(job.body, (job, job.reserves))

    def _wait(self, end: float) -> Job | None:
        """Blocks until a job is handed over or the end has come. The broker's lock is let go meanwhile."""
        broker = self._broker
        broker.wait(self)
        try:
            while True:
                now = broker.advance()
                if self._handed is None and not self._closed:
                    if now >= end:
                        return None
                    self.wakes = min(end, broker.next_event())
                    broker.lock.release()
                    try:
                        self._bell.acquire(timeout=min(self.wakes - now, threading.TIMEOUT_MAX))
                    finally:
                        broker.lock.acquire()
                self._bell.acquire(blocking=False)  # rung or not: silent again
                self._rung = False
                if self._closed:
                    raise Closed("the queue was closed while it waited for a job")
                if self._handed is not None:
                    job, self._handed = self._handed, None
                    return job
        finally:
            broker.leave(self)
            if self._handed is not None:  # an interrupt came between the job and us
                job, self._handed = self._handed, None
                broker.drop(job)
                broker.ready(job)

    def handed(self, job: Job) -> None:
        """The broker's word to a blocked reserve: this job is yours."""
        self._handed = job
        self.ring()

    def ring(self) -> None:
        """The broker's word to a blocked reserve: look up."""
        if not self._rung:
            self._rung = True
            self._bell.release()

    def attempts(self, delivery: Delivery) -> int:
        job, _ = cast("tuple[Job, int]", delivery.handle)
        return max(1, job.reserves - job.releases)

    def touch(self, delivery: Delivery) -> None:
        with self._broker.lock:
            job = self._mine(delivery)
            job.due = self._broker.clock() + job.lease

    def release(self, delivery: Delivery, *, delay: float = 0.0) -> None:
        with self._broker.lock:
            job = self._mine(delivery)
            job.releases += 1
            self._broker.drop(job)
            self._broker.ready(job) if delay <= 0 else self._broker.delay(job, delay)

    def bury(self, delivery: Delivery, body: bytes | None = None) -> None:
        with self._broker.lock:
            job = self._mine(delivery)
            self._broker.drop(job)
            job.body = job.body if body is None else body
            job.state = State.BURIED
            job.tube.buried[job.id] = job

    def delete(self, delivery: Delivery) -> None:
        with self._broker.lock:
            job = self._mine(delivery)
            self._broker.drop(job)
            self._broker.end(job)

    def kick(self, tube: str, limit: int) -> int:
        with self._broker.lock:
            self._check_open()
            self._broker.advance()
            found = self._broker.tubes.get(tube)
            if found is None:
                return 0
            if found.buried:
                jobs = list(found.buried.values())[:limit]
            else:
                jobs = sorted(found.delayed.values(), key=lambda job: (job.due, job.id))[:limit]
            for job in jobs:
                found.buried.pop(job.id, None)
                found.delayed.pop(job.id, None)
                self._broker.ready(job)
            return len(jobs)

    def peek(self, tube: str, state: State) -> Peeked | None:
        with self._broker.lock:
            self._check_open()
            self._broker.advance()
            found = self._broker.tubes.get(tube)
            job: Job | None = None
            if found is not None and state is State.READY and found.ready:
                job = found.ready[0][2]
            elif found is not None and state is State.BURIED:
                job = next(iter(found.buried.values()), None)
            elif found is not None and state is State.DELAYED:
                job = min(found.delayed.values(), key=lambda job: (job.due, job.id), default=None)
            return None if job is None else Peeked(str(job.id), job.body)

    def discard(self, id: str) -> bool:
        with self._broker.lock:
            self._check_open()
            self._broker.advance()
            job = self._broker.jobs.get(int(id)) if id.isdecimal() else None
            if job is None or job.state is State.RESERVED:
                return False
            if job.state is State.READY:
                job.tube.ready.remove((job.priority, job.id, job))
                heapq.heapify(job.tube.ready)
            job.tube.delayed.pop(job.id, None)
            job.tube.buried.pop(job.id, None)
            self._broker.end(job)
            return True

    def stats(self, tube: str) -> TubeStats:
        with self._broker.lock:
            self._check_open()
            self._broker.advance()
            found = self._broker.tubes.get(tube) or Tube(tube)
            return TubeStats(
                ready=len(found.ready),
                reserved=found.reserved,
                delayed=len(found.delayed),
                buried=len(found.buried),
                watching=len(found.watching),
                waiting=len(found.waiting),
            )

    def tubes(self, prefix: str) -> list[str]:
        with self._broker.lock:
            self._check_open()
            return sorted(name for name in self._broker.tubes if name.startswith(prefix))

    def signal(self, name: str) -> None:
        with self._broker.lock:
            self._check_open()
            self._broker.flags.add(name)

    def signals(self, prefix: str) -> set[str]:
        with self._broker.lock:
            self._check_open()
            return {name for name in self._broker.flags if name.startswith(prefix)}

    def unsignal(self, name: str) -> None:
        with self._broker.lock:
            self._check_open()
            self._broker.flags.discard(name)

    def close(self) -> None:
        with self._broker.lock:
            if self._closed:
                return
            self._closed = True
            if self in self._broker.waiting:
                self._broker.leave(self)
                self.ring()
            for job in list(self.held.values()):
                self._broker.drop(job)
                self._broker.ready(job)
            self._handed = None
            self._watch(())

    def _watch(self, names: Sequence[str]) -> None:
        if tuple(names) == self._names:
            return
        before = self.tubes_watched
        self._names = tuple(names)
        self.tubes_watched = [self._broker.tube(name) for name in dict.fromkeys(names)]
        for tube in before:
            tube.watching.discard(self)
        for tube in self.tubes_watched:
            tube.watching.add(self)
        for tube in before:
            self._broker.sweep(tube)

    def _mine(self, delivery: Delivery) -> Job:
        """The job of the delivery, if it is still held by that very reserve of this connection."""
        self._check_open()
        self._broker.advance()
        job, turn = cast("tuple[Job, int]", delivery.handle)
        if job.holder is not self or job.reserves != turn:
            raise LeaseLost(f"job {job.id} is no longer held here; drop it, somebody else has it or it is done")
        return job

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("this queue was closed; clone() or open another one")
