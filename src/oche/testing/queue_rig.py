"""What the conformance suite of queues stands on: a broker to be tested, fixtures, and small helpers."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from oche.queues.seam import Delivery, Queue, State, TubeStats

#: Seconds until a condition that must come about counts as missed.
PATIENCE = 15.0


@dataclass(frozen=True, kw_only=True)
class Rig:
    """A fresh broker, and what a test may do to it."""

    open: Callable[[], Queue]  #: a new connection to the one broker
    restart: Callable[[], None] | None = None  #: kills the broker and starts it again, with its data if durable
    crash: Callable[[Queue], None] = lambda queue: queue.close()  #: ends a connection as the death of its process would
    advance: Callable[[float], None] | None = None  #: moves the broker's clock, if it is a test's
    url: str | None = None  #: for other processes
    shortest_lease: float = 1.0
    #: False for a broker that may overlook a lease that ran out until its holder speaks: the suite lets it speak.
    leases_end_in_silence: bool = True
    #: True for a broker of plain lines: of several tubes the first named goes first, and a job that was set aside or
    #: delayed is the youngest when it is ready again.
    plain_lines: bool = False
    #: True for a broker where a job that is given back, in whatever way, is the youngest afterwards; of those that a
    #: lost connection held, the last taken comes first.
    returns_last: bool = False
    level: Callable[[int], int] = lambda priority: priority  #: priorities of one level are the same to the broker
    #: False for a broker without places: a job that was handed out comes back in its tube before any other or after.
    keeps_places: bool = True
    #: False for a broker that cannot hasten what it delays.
    kicks_delayed: bool = True
    #: False for a broker that may forget to hold a job back: until somebody takes it, it may be counted as ready.
    keeps_delays: bool = True

    def waits(self, stats: TubeStats, ready: int) -> TubeStats:
        """The counts of a tube of which so many are ready: where delays may be forgotten, what is over is delayed."""
        over = 0 if self.keeps_delays else max(0, stats.ready - ready)
        return replace(stats, ready=stats.ready - over, delayed=stats.delayed + over)

    def ran_out(self, holder: Queue, watcher: Queue, tube: str) -> bool:
        """Whether no job of the tube is reserved any more."""
        if not self.leases_end_in_silence:
            holder.stats(tube)
        return watcher.stats(tube).reserved == 0


def until(condition: Callable[[], bool], what: str) -> None:
    """Waits for a condition; fails the test if it does not come about within `PATIENCE`."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"waited {PATIENCE:g} s in vain until {what}")
        time.sleep(0.002)


def raised(call: Callable[[], object]) -> type[Exception] | None:
    """The type of what a call raises."""
    try:
        call()
    except Exception as error:
        return type(error)
    return None


def take(queue: Queue, *tubes: str) -> Delivery:
    """The next job, which is there."""
    delivery = queue.reserve(tubes, 1.0)
    assert delivery is not None, f"no job is ready in {tubes}"
    return delivery


def take_all(queue: Queue, tube: str, limit: int) -> list[Delivery]:
    """All that is ready, taken by many at once."""
    got: list[Delivery] = []
    while found := queue.reserve_many([tube], limit, 0.0):
        assert len(found) <= limit
        got += found
    return got


def delivered(future: Future[Delivery | None]) -> Delivery:
    """What a reserve in another thread brought."""
    delivery = future.result(PATIENCE)
    assert delivery is not None, "the reserve came back with nothing"
    return delivery


def peeked(queue: Queue, tube: str, state: State) -> bytes | None:
    """The body that a peek shows."""
    found = queue.peek(tube, state)
    return None if found is None else found.body


def do(verb: str, queue: Queue, delivery: Delivery) -> None:
    """A verb by name, on a delivery."""
    if verb == "bury with body":
        queue.bury(delivery, b"why")
    else:
        getattr(queue, verb)(delivery)


def verbs(queue: Queue, tube: str, held: Delivery) -> dict[str, Callable[[], object]]:
    """Each verb as a call."""
    return {
        "put": lambda: queue.put(tube, b""),
        "put_many": lambda: queue.put_many(tube, [b""]),
        "reserve": lambda: queue.reserve([tube], 0.0),
        "reserve_many": lambda: queue.reserve_many([tube], 2, 0.0),
        "touch": lambda: queue.touch(held),
        "release": lambda: queue.release(held),
        "bury": lambda: queue.bury(held),
        "delete": lambda: queue.delete(held),
        "kick": lambda: queue.kick(tube, 1),
        "peek": lambda: queue.peek(tube, State.READY),
        "discard": lambda: queue.discard("1"),
        "stats": lambda: queue.stats(tube),
        "tubes": lambda: queue.tubes(tube),
        "signal": lambda: queue.signal(tube),
        "signals": lambda: queue.signals(tube),
        "unsignal": lambda: queue.unsignal(tube),
    }


class Bench:
    """The fixtures of a test of queues. Names of tubes are new in each test."""

    _numbers = itertools.count(1)

    @pytest.fixture
    def rig(self) -> Iterator[Rig]:
        raise NotImplementedError("the subclass gives a fixture `rig`")

    @pytest.fixture
    def connect(self, rig: Rig) -> Iterator[Callable[[], Queue]]:
        """Opens connections, and closes them after the test."""
        opened: list[Queue] = []

        def connect() -> Queue:
            opened.append(rig.open())
            return opened[-1]

        yield connect
        for queue in opened:
            queue.close()

    @pytest.fixture
    def queue(self, connect: Callable[[], Queue]) -> Queue:
        return connect()

    @pytest.fixture
    def other(self, connect: Callable[[], Queue]) -> Queue:
        return connect()

    @pytest.fixture
    def tube(self) -> str:
        return f"suite.{os.getpid()}.{next(self._numbers)}"

    @pytest.fixture
    def pool(self) -> Iterator[ThreadPoolExecutor]:
        with ThreadPoolExecutor(8) as pool:
            yield pool

    def need(self, queue: Queue, *traits: str) -> None:
        """Skips the test where the broker lacks one of these traits."""
        for trait in traits:
            if not getattr(queue.traits, trait):
                pytest.skip(f"this broker has no {trait}")

    def run_out(self, rig: Rig, holder: Queue, watcher: Queue, tube: str) -> None:
        """Lets the leases of the tube, which are the shortest, run out."""
        self.need(watcher, "counts")
        if rig.advance is not None:
            rig.advance(rig.shortest_lease * 1.01)
        until(lambda: rig.ran_out(holder, watcher, tube), "the leases had run out")
