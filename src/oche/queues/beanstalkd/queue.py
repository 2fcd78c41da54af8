"""beanstalkd: one connection is one socket, and its death gives back all that it holds.

A flag is a tube `signal;NAME` with one job in it, so that one list-tubes shows all flags.

beanstalkd lets anyone delete a job that is ready, hence also a holder whose lease ran out. Before a delete that
may come too late by our own clock we therefore touch, which only the holder can. Ids never repeat on one
connection, since a server that restarts ends it.

A lease may outlast its time: up to 1.13 the server can drop a holder that is silent from its timetable, and
sees that the lease ran out only when that connection says something or ends.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from math import ceil
from typing import Self, cast

import greenstalk

from oche.errors import LeaseLost, QueueError
from oche.queues.beanstalkd.commands import check_size, check_tube, put_commands
from oche.queues.beanstalkd.replies import ALIVE, job_stats, refusal, tube_stats
from oche.queues.beanstalkd.wire import ANSWER, BATCH, CONNECT, PORT, Conversation, Reply, address
from oche.queues.seam import (
    DEFAULT_LEASE,
    DEFAULT_PRIORITY,
    BatchQueue,
    Delivery,
    Peeked,
    Report,
    State,
    Traits,
    TubeStats,
)

#: Seconds in which a job comes that was ready already.
AT_ONCE = 0.00025
#: Seconds that a delete may take to arrive.
MARGIN = 0.5
#: Seconds: as long a delay as there is, and as long a wait as a socket's timeout can be.
_FOR_EVER, _LONG = 2**31 - 1, 10**6
_SIGNAL = "signal;"
_TRAITS = Traits(
    durable=False, delay=True, priority=True, touch=True, bury=True, signal=True, fanout=False, peek=True, counts=True,
    max_body=None, signal_pace=0.25,
)  # fmt: skip


@dataclass(slots=True)
class _Hold:
    """What a delivery stands for. `until` is when, by our clock, the lease may be over, less the margin."""

    queue: BeanstalkdQueue
    id: int
    until: float
    lease: int = 1  # the least there is, as long as we do not know
    priority: int = -1
    tube: str = ""


class BeanstalkdQueue(BatchQueue):
    """A connection to a beanstalkd 1.12 or newer."""

    def __init__(self, host: str, port: int = PORT) -> None:
        self._host, self._port = host, port
        self._held: dict[int, _Hold] = {}
        self._stream = 1  # jobs that reserve_many may find ready at once
        self._foreseen: tuple[_Hold, float] | None = None  # whose attempts were asked for ahead, and when
        self._wire = Conversation(host, port, expected=(greenstalk.NotFoundError,))
        try:
            with self._wire.talk(CONNECT):
                self._client = greenstalk.Client(self._wire.socket, encoding=None)
                self._wire.ends.append(self._client)
                stats = self._client.stats()
        except BaseException:
            self._wire.close()
            raise
        durable = stats["binlog-current-index"] > 0
        self.traits = replace(_TRAITS, durable=durable, max_body=stats["max-job-size"])
        self.life = "" if durable else str(stats["id"])

    @classmethod
    def open(cls, url: str) -> Self:
        """`beanstalkd://host` or `beanstalkd://host:port`."""
        return cls(*address(url))

    def clone(self) -> Self:
        return type(self)(self._host, self._port)

    def put_many(
        self, tube: str, bodies: Iterable[bytes], *,
        priority: int = DEFAULT_PRIORITY, delay: float = 0.0, lease: float = DEFAULT_LEASE,
    ) -> list[str]:  # fmt: skip
        puts = put_commands(bodies, self.traits.max_body, priority=priority, delay=delay, lease=lease)
        replies = self._wire.exchange(self._wire.use(tube) + puts)
        ids: list[str] = []
        for reply in replies[len(replies) - len(puts) :]:
            if reply.status != b"INSERTED":
                if reply.status == b"BURIED":  # it ran out of memory amid the put: the job is there, and must not be
                    self.discard(reply.values[0].decode())
                raise refusal(reply, self._wire.where)
            ids.append(reply.values[0].decode())
        return ids

    def reserve_many(
        self, tubes: Sequence[str], limit: int, timeout: float, *, done: Iterable[Delivery] = ()
    ) -> list[Delivery]:
        self._wire.watch(tubes)
        whole = ceil(min(max(timeout, 0.0), _LONG))
        got: list[Delivery] = []
        # Every reserve that finds nothing costs as much as one that does: ask for as many as came the last time.
        asked = max(1, min(self._stream, limit, BATCH))
        deletes = self._deletes(done)
        commands = [b"reserve-with-timeout %d\r\n" % whole] + [b"reserve-with-timeout 0\r\n"] * (asked - 1)
        # The lease began at some time after this; in a reserve that had to wait, nobody knows when.
        sent = time.monotonic()
        for reply in self._wire.exchange(deletes + commands, whole + ANSWER)[len(deletes) :]:
            if reply.status == b"RESERVED":
                got.append(self._deliver(int(reply.values[0]), reply.body, sent))
            elif reply.status not in (b"TIMED_OUT", b"DEADLINE_SOON"):
                raise QueueError(f"beanstalkd answered {reply.status!r} to a reserve")
        waited = time.monotonic() - sent > AT_ONCE
        self._stream = max(1, len(got)) if waited or len(got) < asked else 2 * asked
        return got

    def _deliver(self, id: int, body: bytes, sent: float) -> Delivery:
        hold = self._held[id] = _Hold(self, id, sent + 1 - MARGIN)
        return Delivery(body, hold)

    def foresee(self, delivery: Delivery) -> None:
        hold = self._mine(delivery)
        self._foreseen = hold, time.monotonic()
        self._wire.ask(b"stats-job %d\r\n" % hold.id)

    def attempts(self, delivery: Delivery) -> int:
        if attempts := self.attempts_many([delivery])[0]:
            return attempts
        raise LeaseLost("the job is gone; drop it, it is done")

    def attempts_many(self, deliveries: Sequence[Delivery]) -> list[int]:
        holds = [self._mine(delivery) for delivery in deliveries]
        foreseen, self._foreseen = self._foreseen, None
        if foreseen is not None and [foreseen[0]] == holds:
            return [self._learn(foreseen[0], self._wire.answer(), foreseen[1])]
        sent = time.monotonic()
        replies = self._wire.exchange([b"stats-job %d\r\n" % hold.id for hold in holds])
        return [self._learn(hold, reply, sent) for hold, reply in zip(holds, replies, strict=True)]

    def _learn(self, hold: _Hold, reply: Reply, sent: float) -> int:
        if reply.status != b"OK":
            self._held.pop(hold.id, None)
            return 0
        stats = job_stats(reply.body)
        hold.lease, hold.priority, hold.tube = stats.lease, stats.priority, stats.tube
        if stats.held:
            hold.until = max(hold.until, sent + stats.left - MARGIN)
        return stats.attempts

    def touch(self, delivery: Delivery) -> None:
        self._touch(self._mine(delivery))

    def _touch(self, hold: _Hold) -> None:
        sent = time.monotonic()
        with self._lease(hold), self._wire.talk():
            self._client.touch(greenstalk.Job(hold.id, b""))
        hold.until = sent + hold.lease - MARGIN

    def release(self, delivery: Delivery, *, delay: float = 0.0) -> None:
        hold = self._known(delivery)
        with self._lease(hold), self._wire.talk():
            self._client.release(greenstalk.Job(hold.id, b""), hold.priority, ceil(max(delay, 0)))
        self._held.pop(hold.id, None)

    def bury(self, delivery: Delivery, body: bytes | None = None) -> None:
        """With a body, a new job takes the place of the old one, with a new id and an attempt more."""
        hold = self._known(delivery)
        if body is None:
            with self._lease(hold), self._wire.talk():
                self._client.bury(greenstalk.Job(hold.id, b""), hold.priority)
            self._held.pop(hold.id, None)
            return
        check_size(body, self.traits.max_body)
        self._touch(hold)
        # Delayed for ever, so that nobody takes it before it is buried.
        id = int(self.put(hold.tube, body, priority=hold.priority, delay=_FOR_EVER, lease=hold.lease))
        with suppress(greenstalk.NotFoundError), self._wire.talk():  # not found: kicked at this very moment
            self._client.reserve_job(id)
            self._client.bury(greenstalk.Job(id, b""), hold.priority)
        try:
            self.delete(delivery)
        except LeaseLost:
            self.discard(str(id))
            raise

    def _known(self, delivery: Delivery) -> _Hold:
        hold = self._mine(delivery)
        if hold.priority < 0:
            self.attempts(delivery)
        return hold

    def delete(self, delivery: Delivery) -> None:
        hold = self._mine(delivery)
        if time.monotonic() > hold.until:
            self._touch(hold)
        with self._lease(hold), self._wire.talk():
            self._client.delete(hold.id)
        self._held.pop(hold.id, None)

    def delete_many(self, deliveries: Iterable[Delivery]) -> None:
        self._wire.exchange(self._deletes(deliveries))

    def _deletes(self, deliveries: Iterable[Delivery]) -> list[bytes]:
        """The commands that delete those of the jobs that are still held; for this connection they are gone."""
        holds: list[_Hold] = []
        for delivery in deliveries:
            with suppress(LeaseLost):
                holds.append(self._mine(delivery))
        now = time.monotonic()
        late = [hold for hold in holds if now > hold.until]
        replies = self._wire.exchange([b"touch %d\r\n" % hold.id for hold in late])
        lost = {hold.id for hold, reply in zip(late, replies, strict=True) if reply.status != b"TOUCHED"}
        for hold in holds:
            self._held.pop(hold.id, None)
        return [b"delete %d\r\n" % hold.id for hold in holds if hold.id not in lost]

    def kick(self, tube: str, limit: int) -> int:
        return int(self._wire.exchange([*self._wire.use(tube), b"kick %d\r\n" % max(limit, 0)])[-1].values[0])

    def peek(self, tube: str, state: State) -> Peeked | None:
        if state is State.RESERVED:
            return None
        reply = self._wire.exchange([*self._wire.use(tube), b"peek-%b\r\n" % state.encode()])[-1]
        return Peeked(reply.values[0].decode(), reply.body) if reply.status == b"FOUND" else None

    def discard(self, id: str) -> bool:
        if not id.isdecimal() or int(id) >= 2**64:
            return False
        with suppress(greenstalk.NotFoundError), self._wire.talk():
            if self._client.stats_job(int(id))["state"] != "reserved":
                self._client.delete(int(id))
                return True
        return False

    def stats(self, tube: str) -> TubeStats:
        check_tube(tube)
        with suppress(greenstalk.NotFoundError), self._wire.talk():
            return tube_stats(self._client.stats_tube(tube))
        return TubeStats(0, 0, 0, 0, 0, 0)

    def tubes(self, prefix: str) -> list[str]:
        with self._wire.talk():
            names = [name for name in self._client.tubes() if name.startswith(prefix) and not name.startswith(_SIGNAL)]
        replies = self._wire.exchange([b"stats-tube %b\r\n" % name.encode() for name in names])
        # A tube that somebody only means to put into exists as well, empty.
        return sorted(name for name, reply in zip(names, replies, strict=True) if ALIVE.search(reply.body))

    def signal(self, name: str) -> None:
        tube = _SIGNAL + name
        if self.peek(tube, State.READY) is None:
            self.put(tube, b"")
        self._wire.exchange(self._wire.use("default"))  # a tube that is in use does not go away

    def signals(self, prefix: str) -> set[str]:
        whole = _SIGNAL + prefix
        with self._wire.talk():
            return {name.removeprefix(_SIGNAL) for name in self._client.tubes() if name.startswith(whole)}

    def unsignal(self, name: str) -> None:
        if name in self.signals(name):  # else using the tube would raise the flag for a moment
            while (job := self.peek(_SIGNAL + name, State.READY)) is not None:
                self.discard(job.id)
            self._wire.exchange(self._wire.use("default"))

    def _mine(self, delivery: Delivery) -> _Hold:
        hold = delivery.handle
        if not isinstance(hold, _Hold) or hold.queue is not self:
            raise LeaseLost("the job was handed to another connection; use the queue that reserved it")
        self._wire.check_open()
        if self._held.get(hold.id) is not hold:
            raise LeaseLost(f"job {hold.id} is no longer held here; drop it, somebody else has it or it is done")
        return hold

    def inspect(self) -> Report:
        with self._wire.talk():
            return cast(Report, self._client.stats())

    def close(self) -> None:
        self._wire.close()

    @contextmanager
    def _lease(self, hold: _Hold) -> Iterator[None]:
        try:
            yield
        except greenstalk.NotFoundError as error:
            self._held.pop(hold.id, None)
            raise LeaseLost(f"the lease of job {hold.id} ran out; drop it, another has it or it is done") from error
