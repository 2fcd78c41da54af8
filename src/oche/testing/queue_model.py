"""What a broker does, as a model of a few lines, and Hypothesis to find verbs that show otherwise."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from oche.errors import LeaseLost
from oche.queues.seam import Delivery, Queue, State
from oche.testing.queue_rig import Rig, take, until

_numbers = itertools.count(1)


@dataclass(eq=False)
class _Job:
    """A job as the model knows it."""

    id: str
    tube: str
    body: bytes
    priority: int
    age: int
    state: State
    attempts: int = 0
    holder: tuple[int, int] | None = None  # place of the connection, and number of the delivery
    loose: bool = False  # its age and attempts may start again: buried with another body
    counted: bool = True  # its attempts are known; a restart may forget them


@dataclass(frozen=True)
class _Held:
    job: _Job
    place: int
    number: int
    queue: Queue = field(repr=False)
    delivery: Delivery = field(repr=False)


class Model(RuleBasedStateMachine):
    """What a broker does, by definition: a list of jobs, and three connections."""

    deliveries: Bundle[Any] = Bundle("deliveries")
    places = st.integers(0, 2)
    tubes = st.sampled_from(["a", "b"])

    def __init__(self, rig: Rig) -> None:
        super().__init__()
        self.rig = rig
        self.prefix = f"model.{os.getpid()}.{next(_numbers)}."
        self.connections = [rig.open() for _ in range(3)]
        self.jobs: list[_Job] = []
        self.lapses = 0
        self.traits = self.connections[0].traits

    def teardown(self) -> None:
        for queue in self.connections:
            queue.close()

    def mine(self, tube: str, *states: State) -> list[_Job]:
        return [job for job in self.jobs if job.tube == tube and job.state in states]

    def moved(self, job: _Job) -> None:
        """In a plain line it is the youngest now."""
        if self.rig.plain_lines:
            job.age = next(_numbers)

    def make_ready(self, job: _Job) -> None:
        job.state, job.holder = State.READY, None

    @rule(place=places, tube=tubes, body=st.binary(max_size=300), priority=st.sampled_from([0, 5, 5, 2**16, 2**32 - 1]))
    def put(self, place: int, tube: str, body: bytes, priority: int) -> None:
        id = self.connections[place].put(self.prefix + tube, body, priority=priority, lease=1000)
        self.jobs.append(_Job(id, tube, body, self.rig.level(priority), next(_numbers), State.READY))

    @rule(place=places, tube=tubes)
    def put_many(self, place: int, tube: str) -> None:
        bodies = [b"1", b"22", b"333"]
        for body, id in zip(
            bodies, self.connections[place].put_many(self.prefix + tube, bodies, lease=1000), strict=True
        ):
            self.jobs.append(_Job(id, tube, body, self.rig.level(2**16), next(_numbers), State.READY))

    @rule(place=places, tube=tubes)
    def put_delayed(self, place: int, tube: str) -> None:
        if self.traits.delay:
            id = self.connections[place].put(self.prefix + tube, b"later", delay=10_000, lease=1000)
            self.jobs.append(_Job(id, tube, b"later", self.rig.level(2**16), next(_numbers), State.DELAYED))

    @rule(target=deliveries, place=places, names=st.sampled_from([("a",), ("b",), ("a", "b")]))
    def reserve(self, place: int, names: tuple[str, ...]) -> _Held | None:
        queue = self.connections[place]
        delivery = queue.reserve([self.prefix + name for name in names], 0.0)
        ready = [job for name in names for job in self.mine(name, State.READY)]
        if not ready:
            assert delivery is None
            return None
        assert delivery is not None
        if self.rig.plain_lines:
            ready = [job for job in ready if job.tube == ready[0].tube]
        urgent = [job for job in ready if job.priority == min(job.priority for job in ready)]
        oldest = min((job for job in urgent if not job.loose), key=lambda job: job.age, default=None)
        candidates = [job for job in urgent if job.loose or job is oldest] if self.rig.keeps_places else ready
        alike = [job for job in candidates if job.body == delivery.body]
        assert alike, f"got {delivery.body!r}; expected one of {candidates}"
        attempts = queue.attempts(delivery)
        assert attempts >= 1
        job = next((job for job in alike if job.attempts + 1 == attempts), alike[0])
        job.attempts += 1
        if job.counted:
            assert attempts == job.attempts
        job.state, job.holder = State.RESERVED, (place, number := next(_numbers))
        return _Held(job, place, number, queue, delivery)

    def change(self, held: _Held | None, verb: str, **options: Any) -> _Job | None:
        """Does the verb; the job if it was held. If not, the model expects the loss to be told."""
        if held is None:
            return None
        queue = self.connections[held.place]
        if held.job.state is State.RESERVED and held.job.holder == (held.place, held.number):
            assert queue is held.queue
            getattr(queue, verb)(held.delivery, **options)
            return held.job
        with pytest.raises(LeaseLost):
            getattr(queue, verb)(held.delivery, **options)
        return None

    @rule(held=deliveries)
    def touch(self, held: _Held | None) -> None:
        self.change(held, "touch")

    @rule(held=deliveries, delay=st.sampled_from([0, 0, 10_000]))
    def release(self, held: _Held | None, delay: int) -> None:
        job = self.change(held, "release", delay=delay)
        if job is not None:
            job.attempts -= 1
            self.make_ready(job)
            if self.rig.returns_last:
                self.moved(job)
            if delay:
                job.state = State.DELAYED
                self.moved(job)

    @rule(held=deliveries, body=st.sampled_from([None, None, b"because"]))
    def bury(self, held: _Held | None, body: bytes | None) -> None:
        job = self.change(held, "bury", body=body)
        if job is not None:
            job.state, job.holder = State.BURIED, None
            self.moved(job)
            if body is not None:
                job.body, job.loose, job.counted, job.id = body, True, False, ""

    @rule(held=deliveries)
    def delete(self, held: _Held | None) -> None:
        job = self.change(held, "delete")
        if job is not None:
            self.jobs.remove(job)
            job.state, job.holder = State.READY, None

    @rule(place=places, tube=tubes)
    def kick(self, place: int, tube: str) -> None:
        jobs = self.mine(tube, State.BURIED) or (self.mine(tube, State.DELAYED) if self.rig.kicks_delayed else [])
        assert self.connections[place].kick(self.prefix + tube, 1000) == len(jobs)
        for job in sorted(jobs, key=lambda job: job.age):
            self.make_ready(job)
            self.moved(job)

    @rule(place=places, data=st.data())
    def discard(self, place: int, data: Any) -> None:
        known = [job for job in self.jobs if job.id]
        if known and self.traits.peek:
            job = data.draw(st.sampled_from(known))
            free = job.state is not State.RESERVED
            assert self.connections[place].discard(job.id) is free
            if free:
                self.jobs.remove(job)

    @rule(place=places, how=st.sampled_from(["crash", "close"]))
    def lose_a_connection(self, place: int, how: str) -> None:
        if how == "crash":
            self.rig.crash(self.connections[place])
        self.connections[place].close()
        self.connections[place] = self.rig.open()
        lost = [(job.holder[1], job) for job in self.jobs if job.holder is not None and job.holder[0] == place]
        for _, job in sorted(lost, key=lambda pair: pair[0], reverse=True):
            self.make_ready(job)
            if self.rig.returns_last:
                self.moved(job)
        watcher = self.connections[(place + 1) % 3]
        for tube in "ab":  # a server may take a moment to notice
            until(lambda tube=tube: self.reserved(watcher, tube), "the connection's jobs were given back")  # type: ignore[misc]

    def reserved(self, watcher: Queue, tube: str) -> bool:
        return watcher.stats(self.prefix + tube).reserved == len(self.mine(tube, State.RESERVED))

    @rule(target=deliveries, place=places, often=st.integers(0, 9))
    def let_a_lease_run_out(self, place: int, often: int) -> _Held | None:
        """In a tube of its own. In real time that is dear: seldom, and once."""
        if self.rig.advance is None and (self.lapses or often < 9):
            return None
        self.lapses += 1
        queue, watcher, tube = self.connections[place], self.connections[(place + 1) % 3], f"lapse{self.lapses}"
        id = queue.put(self.prefix + tube, b"lapse", lease=self.rig.shortest_lease)
        delivery = take(queue, self.prefix + tube)
        if self.rig.advance is not None:
            self.rig.advance(self.rig.shortest_lease * 1.01)
        until(lambda: self.rig.ran_out(queue, watcher, self.prefix + tube), "the lease ran out")
        job = _Job(id, tube, b"lapse", self.rig.level(2**16), next(_numbers), State.READY, attempts=1)
        self.jobs.append(job)
        return _Held(job, place, 0, queue, delivery)

    @rule(often=st.integers(0, 2))
    def restart(self, often: int) -> None:
        if self.rig.restart is None or not self.traits.durable or often < 2:
            return
        self.rig.restart()
        for queue in self.connections:
            queue.close()
        self.connections = [self.rig.open() for _ in range(3)]
        for job in self.jobs:
            job.counted = False
            if job.state is State.RESERVED:
                self.make_ready(job)

    @invariant()
    def the_counts_agree(self) -> None:
        if self.traits.counts:
            for tube in "ab":
                found = self.connections[0].stats(self.prefix + tube)
                stats = self.rig.waits(found, len(self.mine(tube, State.READY)))
                for state in State:
                    assert getattr(stats, state) == len(self.mine(tube, state)), (tube, state, stats)
