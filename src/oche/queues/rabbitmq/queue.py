"""RabbitMQ 3.10 or newer: durable classic queues, whatever is put committed to disk before `put` returns.

Classic queues, not quorum queues. A quorum queue counts deliveries, but a job that is given back or only looked at
counts there too, and loses its place; it has no priorities before RabbitMQ 4, and drops what was delivered too often.
A classic queue puts a message back where it was, and flags it: that a flagged delivery is one more lost holder, except
after a release or a look, is written on the board (`rabbitmq_board`) when it happens, which is seldom. What the
price is: a queue lives on one node of a RabbitMQ cluster, and is away while that node is.

What AMQP lacks is made up for with more queues (`rabbitmq_names`); no plugin is needed. Two things are coarser than
elsewhere, so that the trait `priority` is False: priorities are six levels, and those of one tube only; of several
tubes the first named goes first. A job that was set aside or delayed is the youngest when it is ready again. And
RabbitMQ waits for the disk where something is put, not where it is done with: what was deleted in the last second
before the broker was killed may be handed out once more.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import uuid4

from oche.errors import ConfigError, LeaseLost, TooLarge
from oche.queues.rabbitmq.board import Board
from oche.queues.rabbitmq.holds import Hold, Holds
from oche.queues.rabbitmq.names import (
    delayed,
    due_of,
    handed_of,
    lease_of,
    level,
    number_of,
    of_tube,
    properties,
    tube_of,
)
from oche.queues.rabbitmq.wire import Conversation, Message
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

#: Bytes of a body: of the limits that RabbitMQ has had by default, the smallest (4.0).
MAX_BODY = 2**24
#: Messages, and about as many bytes of bodies, put in one transaction.
BATCH, BATCH_BYTES = 500, 2**22


class RabbitMQQueue(BatchQueue):
    """A connection to a RabbitMQ 3.10 or newer."""

    traits = Traits(
        durable=True, delay=True, priority=False, touch=True, bury=True, signal=True, fanout=False, peek=True,
        counts=True, max_body=MAX_BODY, signal_pace=0.5,
    )  # fmt: skip

    def __init__(self, url: str) -> None:
        self._url = url
        self._wire = Conversation(url)
        try:
            with self._wire.talk():
                self._board = Board(self._wire)
                self._holds = Holds(self._wire, self._board)
        except BaseException:
            self._wire.close()
            raise
        self._wire.tend = self._holds.tend

    @classmethod
    def open(cls, url: str) -> Self:
        """`amqp://user:password@host:5672/%2F`, or `amqps://` with TLS, as pika takes them."""
        if urlsplit(url).scheme not in ("amqp", "amqps") or not urlsplit(url).hostname:
            raise ConfigError(f"{url!r} is not of the form amqp://user:password@host:5672/%2F")
        return cls(url)

    def clone(self) -> Self:
        return type(self)(self._url)

    # --- verbs

    def put_many(
        self, tube: str, bodies: Iterable[bytes], *,
        priority: int = DEFAULT_PRIORITY, delay: float = 0.0, lease: float = DEFAULT_LEASE,
    ) -> list[str]:  # fmt: skip
        if ":" in tube or not tube:
            raise ConfigError(f"tube {tube!r}: on RabbitMQ it takes a name without a colon")
        queue = delayed(tube, delay) if delay > 0.0 else tube
        ids: list[str] = []
        batch: list[Message] = []
        size = 0
        with self._wire.talk():
            for body in bodies:
                _check(body)
                ids.append(f"{tube}/{uuid4().hex}")
                told = properties(ids[-1], level=level(priority), lease=lease, delay=delay if delay > 0.0 else None)
                batch.append(Message(queue, body, told))
                size += len(body)
                if len(batch) == BATCH or size > BATCH_BYTES:
                    self._post(batch)
                    batch, size = [], 0
            self._post(batch)
        return ids

    def reserve_many(
        self, tubes: Sequence[str], limit: int, timeout: float, *, done: Iterable[Delivery] = ()
    ) -> list[Delivery]:
        with self._wire.talk():
            self._holds.end(self._still_held(done), now=False)
            return [Delivery(hold.body, hold) for hold in self._holds.take(tubes, limit, timeout)]

    def attempts(self, delivery: Delivery) -> int:
        with self._wire.talk():
            return self._mine(delivery).attempts

    def touch(self, delivery: Delivery) -> None:
        with self._wire.talk():
            hold = self._mine(delivery)
            hold.until = time.monotonic() + lease_of(hold.properties)

    def release(self, delivery: Delivery, *, delay: float = 0.0) -> None:
        with self._wire.talk():
            hold = self._mine(delivery)
            if delay > 0.0 or hold.apart:
                queue = delayed(hold.tube, delay) if delay > 0.0 else hold.tube
                self._move(hold, queue, handed=hold.attempts - 1, delay=delay)
            else:
                self._holds.give_back(hold)

    def bury(self, delivery: Delivery, body: bytes | None = None) -> None:
        with self._wire.talk():
            hold = self._mine(delivery)
            self._move(hold, f"{hold.tube}:buried", body=body, handed=hold.attempts)

    def delete(self, delivery: Delivery) -> None:
        with self._wire.talk():
            self._holds.end([self._mine(delivery)])

    def delete_many(self, deliveries: Iterable[Delivery]) -> None:
        with self._wire.talk():
            self._holds.end(self._still_held(deliveries))

    def kick(self, tube: str, limit: int) -> int:
        with self._wire.talk():
            queues = self._board.read().queues
            kicked = sum(self._kick(queue, limit) for queue in of_tube(queues, tube, "buried"))
            for queue in sorted(of_tube(queues, tube, "delay:"), key=number_of) if kicked == 0 else []:
                kicked += self._kick(queue, limit - kicked)
            return kicked

    def peek(self, tube: str, state: State) -> Peeked | None:
        with self._wire.talk():
            queues = self._board.read().queues
            kinds = {State.READY: [tube], State.BURIED: of_tube(queues, tube, "buried")}
            heads: list[tuple[int, Peeked]] = []
            for queue in kinds.get(state, of_tube(queues, tube, "delay:") if state is State.DELAYED else []):
                if self._wire.count(queue) is not None and (got := self._wire.post.basic_get(queue))[0] is not None:
                    heads.append((due_of(got[1]), Peeked(got[1].message_id or "", got[2])))
                    self._put_back(queue, [got])
            return min(heads, key=lambda head: head[0])[1] if heads else None

    def discard(self, id: str) -> bool:
        """Looks at the messages one by one, so that it takes its time in a long tube."""
        tube = id.rpartition("/")[0]
        with self._wire.talk():
            queues = self._board.read().queues
            kinds = [*of_tube(queues, tube, "buried"), *of_tube(queues, tube, "delay:")]
            return tube in queues and any(self._discard(queue, id) for queue in (tube, *kinds))

    def stats(self, tube: str) -> TubeStats:
        with self._wire.talk():
            return self._board.stats(tube, self._board.read())

    def tubes(self, prefix: str) -> list[str]:
        """What nobody needs any more goes on the way: a look at all of them is the time for it."""
        with self._wire.talk(), self._board.change() as notes:
            known = sorted({tube_of(queue) for queue in notes.queues if queue.startswith(prefix)})
            return [tube for tube in known if not self._board.drop_if_idle(tube, notes)]

    def signal(self, name: str) -> None:
        with self._wire.talk(), self._board.change() as notes:
            notes.signals.add(name)

    def signals(self, prefix: str) -> set[str]:
        with self._wire.talk():
            return {name for name in self._board.read().signals if name.startswith(prefix)}

    def unsignal(self, name: str) -> None:
        with self._wire.talk(), self._board.change() as notes:
            notes.signals.discard(name)

    def inspect(self) -> Report:
        with self._wire.talk():
            return self._wire.server()

    def close(self) -> None:
        self._wire.close()

    # --- what they stand on

    def _post(self, messages: list[Message]) -> None:
        """Puts them, at last, into queues that are there."""
        if later := {message.queue for message in messages if ":delay:" in message.queue}:
            self._holds.make(later)  # each time: one that nobody declares again ends soon
        while messages:
            messages = self._wire.publish(messages)
            if messages:
                self._holds.make({message.queue for message in messages})

    def _move(
        self, hold: Hold, queue: str, *, handed: int, body: bytes | None = None, delay: float | None = None
    ) -> None:
        """Puts the held job elsewhere, then ends it here: whoever dies between the two leaves it twice."""
        body = hold.body if body is None else body
        _check(body)
        told = properties(
            hold.id, level=hold.properties.priority or 0, lease=lease_of(hold.properties), handed=handed, delay=delay
        )
        self._post([Message(queue, body, told)])
        self._holds.end([hold])

    def _kick(self, queue: str, limit: int) -> int:
        kicked = 0
        while kicked < limit and self._wire.count(queue) is not None:
            method, found, body = self._wire.post.basic_get(queue)
            if method is None:
                break
            self._wire.post.basic_ack(method.delivery_tag)  # with the commit
            told = properties(
                found.message_id or "", level=found.priority or 0, lease=lease_of(found), handed=handed_of(found)
            )
            self._post([Message(tube_of(queue), body, told)])
            kicked += 1
        return kicked

    def _discard(self, queue: str, id: str) -> bool:
        others: list[Any] = []
        gone = False
        while not gone and self._wire.count(queue) is not None:
            got = self._wire.post.basic_get(queue)
            if got[0] is None:
                break
            gone = got[1].message_id == id
            if gone:
                with self._board.change() as notes:
                    self._wire.post.basic_ack(got[0].delivery_tag)
                    notes.lost.pop(id, None)
            else:
                others.append(got)
        self._put_back(queue, others)
        return gone

    def _put_back(self, queue: str, looked_at: list[Any]) -> None:
        """Gives back what was only looked at. That the broker will flag it must not count for a lost holder."""
        if queue == tube_of(queue) and (first := [got for got in looked_at if not got[0].redelivered]):
            with self._board.change() as notes:
                for _, found, _ in first:
                    notes.lost[found.message_id or ""] = -1
        for method, _, _ in looked_at:
            self._wire.post.basic_nack(method.delivery_tag, requeue=True)
        if looked_at:
            self._wire.publish([])

    def _mine(self, delivery: Delivery) -> Hold:
        hold = delivery.handle
        if not isinstance(hold, Hold) or hold.owner is not self._holds:
            raise LeaseLost("the job was handed to another connection; use the queue that reserved it")
        if not self._holds.has(hold):
            raise LeaseLost(f"job {hold.id} is not held here any more; drop it, it is done or somebody has it")
        return hold

    def _still_held(self, deliveries: Iterable[Delivery]) -> list[Hold]:
        held: list[Hold] = []
        for delivery in deliveries:
            with suppress(LeaseLost):
                held.append(self._mine(delivery))
        return held


def _check(body: bytes) -> None:
    if len(body) > MAX_BODY:
        raise TooLarge(f"the body has {len(body)} bytes, over the limit of {MAX_BODY}; send a reference into a store")
