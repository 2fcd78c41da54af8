"""Who has which call: what Celery's workers tell when they are asked, and the rule by which a call is lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from celery import Celery
from celery.app.control import Control
from kombu.connection import Connection
from kombu.exceptions import KombuError
from kombu.messaging import Producer
from kombu.pidbox import Mailbox

from oche.engines.celery_app import TASK, Told

#: Seconds for a connection to be made, and for an answer of Redis.
CONNECT, ANSWER = 4.0, 10.0
#: Seconds between two looks, and what one look adds at most to a worker's silence: we may have been away.
PACE, MOST = 1.0, 2.0
#: Seconds of silence until a worker is taken for dead, and that nobody has a call until that is taken for lost.
SILENCE, MISSING = 3.0, 1.0


@dataclass(eq=False)
class Out:
    """A call that is out."""

    text: str  #: as it travels
    future: Future[tuple[int, bytes]] = field(default_factory=Future)
    number: int = 0  #: in the order in which they were put; 0 until it is
    since: float = 0.0  #: when it was put
    taken: bool = False  #: a worker had it
    doubt: bool = False  #: its message came back, so whoever had it may be dead
    missing: float | None = None  #: since when nobody has it, neither a worker nor, perhaps, the queue


class Rule:
    """Says which calls are lost. Does no I/O. Another thread may `hear` meanwhile."""

    def __init__(self) -> None:
        self.begun = 0  #: the number of the last call of which we know that somebody had it
        self.silent: dict[str, float] = {}  #: living workers, and for how long each has said nothing when it was asked
        self._met = False  #: there were any
        self._looked = 0.0

    def hear(self, worker: str) -> None:
        """It lives."""
        self.silent[worker] = 0.0
        self._met = True

    def lost(self, late: Mapping[str, Out], told: Mapping[str, Told], waiting: bool, now: float) -> list[str]:
        """The ids of those that are, by what workers told just now, and whether messages wait in the queue."""
        passed, self._looked = min(now - self._looked, MOST), now
        for worker in set(self.silent) - told.keys():
            self.silent[worker] += passed
            if self.silent[worker] >= SILENCE:
                del self.silent[worker]
        died = {id for node in told.values() for id in node.died}
        had = {id for node in told.values() for id in node.has} - died
        self.begun = max([self.begun, *(late[id].number for id in had)])
        all_told = set(self.silent) <= told.keys()
        for id, call in late.items():
            # The queue is in order: what stands behind one that somebody had is not in it.
            turn = call.taken or call.doubt or (self._met and (not waiting or call.number < self.begun))
            if id in had:
                call.taken, call.doubt, call.missing = True, False, None
            elif not turn:
                call.missing = None
            elif all_told and call.missing is None:
                call.missing = now
        return [
            id
            for id, call in late.items()
            if id in died
            or (all_told and call.missing is not None and (call.doubt or now - call.missing >= MISSING))
        ]  # fmt: skip


class _Once(Producer):
    def publish(self, *args: Any, **options: Any) -> Any:
        return super().publish(*args, **options | {"retry": False})  # type: ignore[no-untyped-call]


class _Box(Mailbox):
    @contextmanager
    def producer_or_acquire(self, producer: Any = None, channel: Any = None) -> Iterator[Producer]:
        yield _Once(channel, auto_declare=False)  # type: ignore[no-untyped-call]


class Voice(Control):  # type: ignore[misc]
    """Speaks over the connection that it is given, and tries once: Celery's takes one of a pool, and tries for ever."""

    Mailbox = _Box


def waiting(app: Celery, connection: Connection) -> bool:
    """Whether messages wait in the task's queue; True where nobody can know."""
    queue = app.amqp.router.route({}, TASK).get("queue")
    if queue is None:
        return True
    try:
        with connection.channel() as channel:
            return bool(channel.queue_declare(queue=queue.name, passive=True).message_count)
    except connection.channel_errors:  # on Redis, an empty one is not there
        return False


def errors_of(app: Celery) -> tuple[type[Exception], ...]:
    """What the libraries raise where a broker is away, or lets nobody in."""
    connection = app.connection_for_write()
    return (KombuError, OSError, *connection.connection_errors, *connection.channel_errors)


def connect(app: Celery) -> Connection:
    """A connection of our own. Raises `errors_of`."""
    options: dict[str, float] = {"max_retries": 1}
    connection: Connection = app.connection_for_write(connect_timeout=CONNECT, transport_options=options)
    if connection.transport.driver_type == "redis":  # which would wait for an answer for ever
        connection.transport_options = {**options, "socket_timeout": ANSWER}
    try:
        connection.ensure_connection(max_retries=1, interval_start=0.1)
    except BaseException:
        connection.release()
        raise
    return connection


@contextmanager
def connected(app: Celery) -> Iterator[Connection]:
    """For a while."""
    connection = connect(app)
    try:
        yield connection
    finally:
        connection.release()
