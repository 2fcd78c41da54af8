"""What the connections of one in-process broker share: jobs, tubes and time, under one lock.

A blocked `reserve` is handed its job by the very `put` that brings it, so a ready job and a connection waiting
for it never exist side by side, no wake-up is lost, and nobody else is woken. Time is kept by the waiters:
at least one of them wakes at the next event (a delay or a lease that runs out), and none wakes before.
"""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from oche.queues.seam import State


class Job:
    """One job, wherever it stands."""

    __slots__ = ("body", "due", "holder", "id", "lease", "priority", "releases", "reserves", "state", "tube")

    def __init__(self, id: int, tube: Tube, body: bytes, priority: int, lease: float) -> None:
        self.id = id
        self.tube = tube
        self.body = body
        self.priority = priority
        self.lease = lease
        self.state: State | None = None  # None: nowhere, in passage or gone
        self.due = 0.0  # end of the lease or of the delay
        self.holder: Taker | None = None
        self.reserves = 0
        self.releases = 0


class Tube:
    """The jobs of one tube, and who looks at them."""

    __slots__ = ("buried", "delayed", "name", "ready", "reserved", "waiting", "watching")

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: list[tuple[int, int, Job]] = []
        self.reserved = 0
        self.delayed: dict[int, Job] = {}
        self.buried: dict[int, Job] = {}
        self.watching: set[Taker] = set()
        self.waiting: dict[Taker, None] = {}  # in order of arrival

    def idle(self) -> bool:
        return not (self.ready or self.reserved or self.delayed or self.buried or self.watching)


class Taker(Protocol):
    """A connection, as the broker sees it."""

    held: dict[int, Job]
    tubes_watched: list[Tube]
    wakes: float  #: when its blocked reserve looks up by itself

    def handed(self, job: Job) -> None:
        """To a blocked reserve: this job is yours."""

    def ring(self) -> None:
        """To a blocked reserve: look up."""


class Broker:
    """What the connections of one broker share. Its methods are for `MemoryQueue`, which holds `lock`."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.life = os.urandom(8).hex()
        self.lock = threading.Lock()
        self.jobs: dict[int, Job] = {}
        self.tubes: dict[str, Tube] = {}
        self.flags: set[str] = set()
        self.waiting: dict[Taker, None] = {}
        self.held = 0
        self._last = 0
        # A job may have entries that no longer count: those before its `due` are passed over.
        self._events: list[tuple[float, int, Job]] = []

    def tube(self, name: str) -> Tube:
        found = self.tubes.get(name)
        if found is None:
            found = self.tubes[name] = Tube(name)
        return found

    def sweep(self, tube: Tube) -> None:
        if tube.idle() and self.tubes.get(tube.name) is tube:
            del self.tubes[tube.name]

    def put(self, name: str, body: bytes, priority: int, delay: float, lease: float) -> int:
        self._last = id = self._last + 1
        job = self.jobs[id] = Job(id, self.tube(name), body, priority, lease)
        self.ready(job) if delay <= 0 else self.delay(job, delay)
        return id

    def ready(self, job: Job) -> None:
        """The job is to be had: hands it to who has waited longest, or keeps it."""
        tube = job.tube
        if tube.waiting:
            taker = next(iter(tube.waiting))
            self.leave(taker)
            self.hold(job, taker)
            taker.handed(job)
        else:
            job.state = State.READY
            heapq.heappush(tube.ready, (job.priority, job.id, job))

    def delay(self, job: Job, seconds: float) -> None:
        job.state = State.DELAYED
        job.tube.delayed[job.id] = job
        self.expect(job, self.clock() + seconds)

    def hold(self, job: Job, holder: Taker) -> None:
        job.state = State.RESERVED
        job.holder = holder
        job.reserves += 1
        job.tube.reserved += 1
        self.held += 1
        holder.held[job.id] = job
        self.expect(job, self.clock() + job.lease)

    def drop(self, job: Job) -> None:
        """The job is reserved no more; where it goes is up to the caller."""
        assert job.holder is not None
        del job.holder.held[job.id]
        job.holder = None
        job.state = None
        job.tube.reserved -= 1
        self.held -= 1

    def end(self, job: Job) -> None:
        del self.jobs[job.id]
        job.state = None
        if not job.tube.ready:
            self.sweep(job.tube)

    def best(self, tubes: Sequence[Tube]) -> Job | None:
        """Takes the most urgent ready job of these tubes off its heap."""
        source = None
        for tube in tubes:
            if tube.ready and (source is None or tube.ready[0] < source.ready[0]):
                source = tube
        return heapq.heappop(source.ready)[2] if source is not None else None

    # Time

    def expect(self, job: Job, when: float) -> None:
        """Something happens to the job then; some waiter must wake for it."""
        job.due = when
        events = self._events
        if len(events) > 2 * len(self.jobs) + 1000:  # entries of jobs that are gone: amortized, a step each
            events[:] = [(j.due, j.id, j) for j in self.jobs.values() if j.state in (State.RESERVED, State.DELAYED)]
            heapq.heapify(events)
        heapq.heappush(events, (when, job.id, job))
        if self.waiting and events[0][2] is job:
            self.appoint()

    def appoint(self) -> None:
        """Sees to it that one waiter wakes at the next event."""
        if self._events and all(waiter.wakes > self._events[0][0] for waiter in self.waiting):
            for waiter in self.waiting:
                waiter.ring()
                break

    def next_event(self) -> float:
        return self._events[0][0] if self._events else float("inf")

    def advance(self) -> float:
        """Lets happen what is due; returns the time."""
        now = self.clock()
        events = self._events
        while events and events[0][0] <= now:
            job = heapq.heappop(events)[2]
            if job.state not in (State.RESERVED, State.DELAYED):
                continue
            if job.due > now:  # its lease was started again meanwhile
                heapq.heappush(events, (job.due, job.id, job))
            elif job.state is State.RESERVED:
                self.drop(job)
                self.ready(job)
            else:
                del job.tube.delayed[job.id]
                self.ready(job)
        return now

    # Waiting

    def wait(self, queue: Taker) -> None:
        self.waiting[queue] = None
        for tube in queue.tubes_watched:
            tube.waiting[queue] = None

    def leave(self, queue: Taker) -> None:
        if queue in self.waiting:
            del self.waiting[queue]
            for tube in queue.tubes_watched:
                del tube.waiting[queue]
            if self.waiting:
                self.appoint()
