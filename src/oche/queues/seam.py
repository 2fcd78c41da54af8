"""The seam to a broker: bytes in, bytes out, and one word for each thing that can happen to a job.

    put(delay=0)          reserve                 delete
    ----------> READY ------------> RESERVED ----------------> gone
                  ^                   |  |  touch: the lease starts again
                  |   release/lease   |  |
                  +-------------------+  +--> BURIED   (kick makes it READY again)
    put(delay>0) --> DELAYED --(time)--> READY

A driver implements `Queue` for one broker and nothing else: it does not sign, retry, reconnect, log or
count. One `Queue` object is one connection, used by one thread at a time; `clone()` opens another. Only
`close()` may be called from a second thread: a `reserve` that is blocked then raises `Closed`.

What every driver promises, and `oche.testing.queue_suite` checks:
- a job is handed to one holder at a time, in order of priority (0 is most urgent), then of age;
- a job whose holder's lease ran out, whose holder's connection is gone, or that was released is ready again;
- `touch`, `release`, `bury` and `delete` with a delivery that is no longer held raise `LeaseLost` and
  change nothing: a handle never reaches a job that is not its own, not even after the broker restarted
  and counts its ids from one again;
- a body comes back bit by bit; one over the limit raises `TooLarge` and stores nothing;
- a broken connection raises `Disconnected`, at every verb, for good: the caller opens a new queue.

All times are in seconds (float); a broker that counts whole seconds rounds up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from oche.errors import LeaseLost

#: Priority of a job that nobody gave one. 0 is most urgent, 2**32 - 1 least.
DEFAULT_PRIORITY = 2**16
#: Seconds a holder may keep a job without touching it.
DEFAULT_LEASE = 30.0

#: What a server says of itself: plain values, by the server's own names for them.
Report = Mapping[str, str | int | float | bool]


class State(StrEnum):
    """Where a job stands."""

    READY = "ready"
    RESERVED = "reserved"
    DELAYED = "delayed"
    BURIED = "buried"


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What a broker can do by itself. Layers above look here instead of at the driver's name."""

    durable: bool  #: puts survive a restart of the broker, with its settings in force
    delay: bool  #: put and release take a delay
    priority: bool  #: every priority is kept, over all tubes of a reserve
    touch: bool  #: a lease can be renewed for ever
    bury: bool
    signal: bool  #: without it `signal` does nothing that anybody sees, and no flag is ever up
    fanout: bool
    peek: bool
    counts: bool  #: stats() gives true counts
    max_body: int | None  #: bytes; None where there is no limit worth naming
    leases: bool = True  #: a holder that fell silent, though its connection is open, loses its jobs
    signal_pace: float  #: seconds between two looks at the signals that cost the broker nothing to speak of


@dataclass(frozen=True, slots=True)
class Delivery:
    """A job handed to this connection: its body, and the driver's own handle for the verbs."""

    body: bytes
    handle: object


@dataclass(frozen=True, slots=True)
class Peeked:
    """A job looked at, not held. `id` is the broker's id for it, as `put` returned it."""

    id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class TubeStats:
    """Counts of one tube."""

    ready: int
    reserved: int
    delayed: int
    buried: int
    watching: int  #: open connections whose last reserve named this tube
    waiting: int  #: those of them that are blocked in reserve at this moment


class Queue(ABC):
    """One connection to a broker."""

    traits: Traits
    #: Names the life of a broker that forgets everything when it restarts: what was put in another life is gone.
    #: Set when the connection is made; "" where nothing is forgotten.
    life: str = ""

    @classmethod
    @abstractmethod
    def open(cls, url: str) -> Self:
        """Connects. Raises `ConfigError` for a URL that cannot be right, `Disconnected` if nobody answers."""

    @classmethod
    def missing(cls, url: str) -> str:
        """What there is not, in words, where `open` would make the broker rather than find it; else ""."""
        return ""

    @abstractmethod
    def clone(self) -> Self:
        """Opens another connection to the same broker, with the same settings."""

    @abstractmethod
    def put(
        self,
        tube: str,
        body: bytes,
        *,
        priority: int = DEFAULT_PRIORITY,
        delay: float = 0.0,
        lease: float = DEFAULT_LEASE,
    ) -> str:
        """Stores a job; returns the broker's id for it. Once it returns, the job is as safe as the broker makes it."""

    @abstractmethod
    def reserve(self, tubes: Sequence[str], timeout: float) -> Delivery | None:
        """Takes the most urgent ready job of these tubes, or waits up to `timeout` for one; None if none came.

        The connection watches exactly these tubes from now until the next reserve or close, also while it
        holds a job: they are listed by `tubes` and counted by `stats`, which is how others see who is there.
        """

    @abstractmethod
    def attempts(self, delivery: Delivery) -> int:
        """How often this job has been handed out, this time included, less the times it was released. At least 1."""

    @abstractmethod
    def touch(self, delivery: Delivery) -> None:
        """Starts the lease again."""

    @abstractmethod
    def release(self, delivery: Delivery, *, delay: float = 0.0) -> None:
        """Gives the job back unchanged; the attempt does not count."""

    @abstractmethod
    def bury(self, delivery: Delivery, body: bytes | None = None) -> None:
        """Sets the job aside until somebody kicks it; `body`, if given, replaces its body (to tell the reason)."""

    @abstractmethod
    def delete(self, delivery: Delivery) -> None:
        """Ends the job."""

    @abstractmethod
    def kick(self, tube: str, limit: int) -> int:
        """Makes up to `limit` buried jobs ready (delayed ones if none is buried); returns how many."""

    @abstractmethod
    def peek(self, tube: str, state: State) -> Peeked | None:
        """The next job of the tube in this state (ready, delayed or buried), without taking it."""

    @abstractmethod
    def discard(self, id: str) -> bool:
        """Deletes the ready, delayed or buried job with this broker's id, for a person at a keyboard; False if none."""

    @abstractmethod
    def stats(self, tube: str) -> TubeStats:
        """Counts of this tube; zeros for one that does not exist."""

    @abstractmethod
    def tubes(self, prefix: str) -> list[str]:
        """Sorted names of the tubes that begin with `prefix` and hold a job or are watched."""

    @abstractmethod
    def signal(self, name: str) -> None:
        """Raises a flag that every connection can see. Raising it again does nothing."""

    @abstractmethod
    def signals(self, prefix: str) -> set[str]:
        """The raised flags whose names begin with `prefix`."""

    @abstractmethod
    def unsignal(self, name: str) -> None:
        """Takes the flag down; nothing happens if it is not up."""

    @abstractmethod
    def close(self) -> None:
        """Ends the connection; jobs it holds are ready again. May be called twice and from any thread."""

    def inspect(self) -> Report:
        """Version and settings, as far as the server tells them, for `oche doctor` to judge; empty if it tells none.

        `version` is that of the server, `time` its clock in seconds since the epoch, `pid` its process id. No password.
        """
        return {}

    # Many at once. A driver whose broker does these in one go overrides them.

    def put_many(
        self,
        tube: str,
        bodies: Iterable[bytes],
        *,
        priority: int = DEFAULT_PRIORITY,
        delay: float = 0.0,
        lease: float = DEFAULT_LEASE,
    ) -> list[str]:
        """`put` for each body, in order. If it raises, any of them may have been stored."""
        return [self.put(tube, body, priority=priority, delay=delay, lease=lease) for body in bodies]

    def reserve_many(
        self, tubes: Sequence[str], limit: int, timeout: float, *, done: Iterable[Delivery] = ()
    ) -> list[Delivery]:
        """`delete_many(done)`, then waits up to `timeout` for a job, and takes what else is ready, `limit` in all.

        Jobs may be ready still when it returns fewer than `limit`; there are none if it returns none.
        """
        self.delete_many(done)
        got: list[Delivery] = []
        while len(got) < limit and (next_ := self.reserve(tubes, 0.0 if got else timeout)) is not None:
            got.append(next_)
        return got

    def foresee(self, delivery: Delivery) -> None:  # noqa: B027 - most drivers know already
        """Says that `attempts` of this job will be the next question: a driver that has to ask its broker asks ahead.

        The holder works on meanwhile; it may also ask for something else.
        """

    def attempts_many(self, deliveries: Sequence[Delivery]) -> list[int]:
        """`attempts` of each; 0 for one whose lease is lost."""
        return [self._attempts(delivery) for delivery in deliveries]

    def _attempts(self, delivery: Delivery) -> int:
        try:
            return self.attempts(delivery)
        except LeaseLost:
            return 0

    def delete_many(self, deliveries: Iterable[Delivery]) -> None:
        """`delete` for each; one whose lease is lost is passed over."""
        for delivery in deliveries:
            with suppress(LeaseLost):
                self.delete(delivery)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class BatchQueue(Queue):
    """For a driver whose broker does many in one go: it has `put_many` and `reserve_many`, and one is many of one."""

    def put(
        self,
        tube: str,
        body: bytes,
        *,
        priority: int = DEFAULT_PRIORITY,
        delay: float = 0.0,
        lease: float = DEFAULT_LEASE,
    ) -> str:
        """`put_many` of one body."""
        return self.put_many(tube, (body,), priority=priority, delay=delay, lease=lease)[0]

    def reserve(self, tubes: Sequence[str], timeout: float) -> Delivery | None:
        """`reserve_many` of one job at most."""
        return next(iter(self.reserve_many(tubes, 1, timeout)), None)

    @abstractmethod
    def put_many(
        self,
        tube: str,
        bodies: Iterable[bytes],
        *,
        priority: int = DEFAULT_PRIORITY,
        delay: float = 0.0,
        lease: float = DEFAULT_LEASE,
    ) -> list[str]:
        """See `Queue`."""

    @abstractmethod
    def reserve_many(
        self, tubes: Sequence[str], limit: int, timeout: float, *, done: Iterable[Delivery] = ()
    ) -> list[Delivery]:
        """See `Queue`."""
