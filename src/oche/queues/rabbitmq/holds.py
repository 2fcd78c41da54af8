"""The jobs that a connection to RabbitMQ takes and holds, and how others see that it does.

The broker knows no leases: a message is its consumer's until the connection ends. So the connection itself gives
back a job whose lease has run out, at its next verb or at the keeper's next turn. A process that is stopped, or cut
off, cannot do that: the broker misses its heartbeat and gives back all that it held, within twice `HEARTBEAT`.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pika
from pika.spec import Basic

from oche.queues.rabbitmq.board import Board
from oche.queues.rabbitmq.names import (
    arguments,
    handed_of,
    held,
    lease_of,
    properties,
    tube_of,
)
from oche.queues.rabbitmq.wire import KEEP, Conversation, Message

#: Seconds after which a held message is exchanged for a new one: at 1,800 the broker would end the channel.
LONG = 900.0
#: Seconds for the broker to hand over a message that was just put.
_SOON = 1.0
#: Seconds that a job which is ready may take to be here: so long it is not said that we have none.
_AT_ONCE = 0.002
_MOST = 2**16 - 1
_TAKE = "take."


@dataclass(slots=True, eq=False)
class Hold:
    """What a delivery stands for."""

    owner: Holds
    tube: str
    tag: int  #: the broker's number of the delivery, on this channel
    body: bytes
    properties: pika.BasicProperties
    again: bool  #: the broker says that it was delivered before
    since: float
    until: float  #: the lease ends
    lost: int = 0  #: holders that this message lost before
    apart: str = ""  #: its T:long, if it is in one

    @property
    def id(self) -> str:
        return self.properties.message_id or ""

    @property
    def attempts(self) -> int:
        return handed_of(self.properties) + self.lost + 1


class Holds:
    """For use within `Conversation.talk`."""

    def __init__(self, wire: Conversation, board: Board) -> None:
        self._wire = wire
        self._board = board
        self._held: set[Hold] = set()
        self._watched: frozenset[str] = frozenset()
        self._shown: set[str] = set()  #: queues consumed from only to be counted
        self._made: set[str] = set()  #: of the tubes watched or held, queues that are there for certain
        self._tags: dict[str, str] = {}  #: consumers that pika knows, and where they consume now
        self._arrived: deque[Hold] = deque()
        self._exchanged: Hold | None = None
        self._allowed = 0
        self._next_turn = 0.0

    # --- verbs

    def take(self, tubes: Sequence[str], limit: int, timeout: float) -> list[Hold]:
        """Up to `limit` jobs; it waits for the first of them only."""
        end = time.monotonic() + timeout
        self._watch(frozenset(tubes))
        self._allow(len(self._held) + limit)
        for number, tube in enumerate(tubes):
            self._consume(f"{_TAKE}{number}", tube)
        if timeout <= 0.0:
            self._barrier()
        else:
            self._wire.wait(min(timeout, _AT_ONCE))
        while not self._arrived and (left := end - time.monotonic()) > 0.0:
            self._show()
            if not self._arrived:
                self._wire.wait(min(left, self.tend()))
        for number in range(len(tubes)):
            self._wire.send(Basic.Cancel(consumer_tag=f"{_TAKE}{number}", nowait=True))
        if len(self._arrived) < limit:  # else the broker is not allowed to send more
            self._barrier()
        got = list(self._arrived)
        self._arrived.clear()
        self._held.update(got)
        self._count_losses([hold for hold in got if hold.again])
        self._show()
        if got and (first := min(hold.until for hold in got)) < self._next_turn:
            self._next_turn = first
            self._wire.turn()
        return got

    def end(self, holds: Iterable[Hold], *, now: bool = True) -> None:
        """The messages of these jobs are done with. Others see it at once, or with the next `take`."""
        ended = [hold for hold in holds if hold in self._held]
        for hold in ended:
            self._held.remove(hold)
            self._wire.hold.basic_ack(hold.tag)
        if gone := {hold.id for hold in ended if hold.again or hold.apart}:
            with self._board.change() as notes:
                for id in gone & notes.lost.keys():
                    del notes.lost[id]
                for hold in ended:
                    if hold.apart:
                        self._wire.drop(hold.apart)
                        del self._tags[hold.apart]
                        notes.queues.discard(hold.apart)
        if now:
            self._show()

    def give_back(self, hold: Hold) -> None:
        """The job keeps its place, and the attempt does not count."""
        with self._board.change() as notes:
            notes.lost[hold.id] = hold.lost - 1
        self._return([hold])

    def has(self, hold: Hold) -> bool:
        """Whether it is held still."""
        return hold in self._held

    def tend(self) -> float:
        """Gives back what has run out, and exchanges what is old; the seconds until it should be called again."""
        now = time.monotonic()
        if now < self._next_turn:
            return self._next_turn - now
        if lapsed := [hold for hold in self._held if hold.until <= now]:
            self._return(lapsed)
        for hold in [hold for hold in self._held if now - hold.since > LONG]:
            self._exchange(hold)
        self._next_turn = min((hold.until for hold in self._held), default=now + KEEP)
        self._next_turn = min(self._next_turn, now + KEEP)
        return self._next_turn - now

    def make(self, queues: Iterable[str]) -> None:
        """Makes these queues, and those of their tubes that they need."""
        with self._board.change() as notes:
            for queue in sorted({tube_of(queue) for queue in queues} | set(queues)):
                notes.queues.add(queue)
                self._wire.declare(queue, arguments(queue))

    # --- what they stand on

    def _return(self, holds: Iterable[Hold]) -> None:
        for hold in holds:
            self._held.remove(hold)
            if hold.apart:  # it is not to come here again
                self._wire.send(Basic.Cancel(consumer_tag=hold.apart, nowait=True))
            self._wire.hold.basic_nack(hold.tag, requeue=True)
        self._barrier()
        self._show()

    def _count_losses(self, holds: list[Hold]) -> None:
        if holds:
            with self._board.change() as notes:
                for hold in holds:
                    hold.lost = notes.lost.get(hold.id, 0) + 1
                    notes.lost[hold.id] = hold.lost

    def _exchange(self, hold: Hold) -> None:
        """The same message anew, by way of a queue of its own, from where it goes back if we die."""
        queue = hold.apart or f"{hold.tube}:long:{uuid4().hex}"
        self.make([queue])
        told = properties(
            hold.id, level=hold.properties.priority or 0, lease=lease_of(hold.properties), handed=hold.attempts
        )
        self._allow(max(self._allowed, len(self._held) + 1))
        self._exchanged = None
        self._wire.publish([Message(queue, hold.body, told)])
        if not hold.apart:
            self._consume(queue, queue)
        new = self._in_exchange(_SOON)
        self._wire.hold.basic_ack(hold.tag)
        if new is None:  # it has gone back, and is somebody else's
            self._held.remove(hold)
        else:
            hold.tag, hold.since, hold.apart = new.tag, new.since, queue

    def _in_exchange(self, seconds: float) -> Hold | None:
        end = time.monotonic() + seconds
        while self._exchanged is None and time.monotonic() < end:
            self._wire.wait(seconds)
        return self._exchanged

    def _watch(self, tubes: frozenset[str]) -> None:
        if tubes != self._watched:
            self._made = {queue for queue in self._made if any(hold.tube == tube_of(queue) for hold in self._held)}
            missing = {f"{tube}:{kind}" for tube in tubes for kind in ("watch", "held:1")} - self._made
            with self._board.change() as notes:  # nobody deletes them before they are watched
                for queue in sorted(missing | tubes):
                    notes.queues.add(queue)
                    self._wire.declare(queue, arguments(queue))
                self._made |= missing
                self._watched = tubes
                self._show()

    def _show(self) -> None:
        """Lets others count what is watched and held here."""
        wanted = {f"{tube}:watch" for tube in self._watched}
        for tube, count in Counter(hold.tube for hold in self._held).items():
            wanted |= held(tube, count)
        if wanted == self._shown:
            return
        if missing := {queue for queue in wanted if ":held:" in queue} - self._made:
            self.make(missing)
            self._made |= missing
        for queue in wanted - self._shown:
            self._wire.send(Basic.Consume(queue=queue, consumer_tag=queue, nowait=True))
        for queue in self._shown - wanted:
            self._wire.send(Basic.Cancel(consumer_tag=queue, nowait=True))
        self._shown = wanted
        self._barrier()

    def _consume(self, tag: str, queue: str) -> None:
        """Has the broker send what is ready.

        Cancelled by pika, a consumer would throw back what comes meanwhile, and that would count as lost. So pika
        learns of each only once, and the broker is told directly.
        """
        if tag in self._tags:
            self._tags[tag] = queue
            self._wire.send(Basic.Consume(queue=queue, consumer_tag=tag, nowait=True))
        else:
            self._tags[tag] = queue
            self._wire.hold.basic_consume(queue, self._on_message, consumer_tag=tag)

    def _on_message(self, _: Any, method: Any, found: pika.BasicProperties, body: bytes) -> None:
        now = time.monotonic()
        tube = tube_of(self._tags[method.consumer_tag])
        hold = Hold(self, tube, method.delivery_tag, body, found, method.redelivered, now, now + lease_of(found))
        if method.consumer_tag.startswith(_TAKE):
            self._arrived.append(hold)
        else:
            self._exchanged = hold

    def _allow(self, count: int) -> None:
        """The broker may have so many messages here at once."""
        if count != self._allowed:
            self._allowed = min(count, _MOST)
            self._barrier()

    def _barrier(self) -> None:
        """What was sent before is done, and what the broker sent for it is here."""
        self._wire.hold.basic_qos(prefetch_count=max(1, self._allowed), global_qos=True)
        self._wire.wait(0.0)
