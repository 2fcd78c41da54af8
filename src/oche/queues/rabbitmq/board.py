"""What RabbitMQ does not tell over AMQP, written on a board: which queues there are, which signals are raised.

The board is one message in a queue of its own. Who takes it has it alone until it is put back, changed or not; it
is put back by itself when its taker dies. Queues are made and deleted by who has the board, and by no one else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec
import pika

from oche.errors import QueueError
from oche.queues.rabbitmq.names import number_of, of_tube, tube_of
from oche.queues.rabbitmq.wire import Conversation, Message
from oche.queues.seam import TubeStats

#: The board's queue, and one that stays empty: where it is, the board has had its message.
NAME, FOUNDED = "oche:board", "oche:founded"
#: Seconds that another may have the board, at least: one that is stopped has it until its heartbeat is missed, twice.
PATIENCE = 40.0

_PERSISTENT = pika.BasicProperties(delivery_mode=2, content_type="application/json")


class Notes(msgspec.Struct):
    """What is on the board."""

    version: int = 0
    queues: set[str] = msgspec.field(default_factory=set)
    signals: set[str] = msgspec.field(default_factory=set)
    #: id -> how many holders the job lost, until its next delivery that is flagged as not the first; that is one more
    lost: dict[str, int] = msgspec.field(default_factory=dict)


class Board:
    """For use within `Conversation.talk`."""

    def __init__(self, wire: Conversation) -> None:
        self._wire = wire
        if not self._founded():
            with wire.alone("oche:founding"):
                if not self._founded():  # or its founder died amid it; then there may be two messages, as after a crash
                    wire.declare(NAME, {})
                    wire.publish([_message(Notes())])
                    wire.declare(FOUNDED, {})

    def _founded(self) -> bool:
        return self._wire.count(NAME) is not None and self._wire.count(FOUNDED) is not None

    @contextmanager
    def change(self) -> Iterator[Notes]:
        """Within, the board is ours alone, and the notes may be changed."""
        post = self._wire.post
        tag, notes = self._take()
        before = _message(notes)
        try:
            yield notes
        except BaseException:
            with suppress(Exception):
                post.basic_nack(tag, requeue=True)
                post.tx_commit()
            raise
        if _message(notes) == before:
            post.basic_nack(tag, requeue=True)
            post.tx_commit()
        else:
            notes.version += 1
            post.basic_ack(tag)
            self._wire.publish([_message(notes)])

    def read(self) -> Notes:
        """The notes as they are."""
        with self.change() as notes:
            return notes

    def stats(self, tube: str, notes: Notes) -> TubeStats:
        """Counts of the tube whose queues are in the notes."""

        def counts(kind: str) -> list[tuple[str, int, int]]:
            return [(queue, *(self._wire.count(queue) or (0, 0))) for queue in of_tube(notes.queues, tube, kind)]

        ready, waiting = (self._wire.count(tube) if tube in notes.queues else None) or (0, 0)
        return TubeStats(
            ready=ready,
            reserved=sum(number_of(queue) * consumers for queue, _, consumers in counts("held:")),
            delayed=sum(messages for _, messages, _ in counts("delay:")),
            buried=sum(messages for _, messages, _ in counts("buried")),
            watching=sum(consumers for _, _, consumers in counts("watch")),
            waiting=waiting,
        )

    def drop_if_idle(self, tube: str, notes: Notes) -> bool:
        """Within `change`: deletes the queues of a tube that holds nothing and that nobody watches; whether it did."""
        if self.stats(tube, notes) != TubeStats(0, 0, 0, 0, 0, 0):
            return False
        # What is put meanwhile keeps its queue; who finds that his is gone makes it again.
        for queue in [*(each for each in notes.queues if tube_of(each) == tube and each != tube), tube]:
            if self._wire.count(queue) is not None and not self._wire.drop(queue, unused=True):
                return False
            notes.queues.discard(queue)
        return True

    def _take(self) -> tuple[int, Notes]:
        end, pause = time.monotonic() + max(PATIENCE, 4.0 * self._wire.heartbeat), 0.0005
        while True:
            method, _, body = self._wire.post.basic_get(NAME)
            if method is not None:
                break
            if time.monotonic() > end:
                raise QueueError(
                    f"the queue {NAME!r} of {self._wire.where} has lost its message; delete it, and it is made anew"
                )
            self._wire.wait(pause)
            pause = min(2 * pause, 0.02)
        tag, notes = method.delivery_tag, _notes(body)
        # A broker that died amid a commit may have kept both the old and the new.
        for _ in range(method.message_count):
            method, _, body = self._wire.post.basic_get(NAME)
            if method is not None:
                other = _notes(body)
                loser, tag = (tag, method.delivery_tag) if other.version > notes.version else (method.delivery_tag, tag)
                notes = max(notes, other, key=lambda found: found.version)
                self._wire.post.basic_ack(loser)
        return tag, notes


def _message(notes: Notes) -> Message:
    return Message(NAME, msgspec.json.encode(notes, order="deterministic"), _PERSISTENT)


def _notes(body: bytes) -> Notes:
    try:
        return msgspec.json.decode(body, type=Notes)
    except msgspec.DecodeError as error:
        raise QueueError(f"the message in the queue {NAME!r} is not ours ({error}); delete the queue") from error
