"""Topics and channels on any queue of jobs: a tube for each channel, and who publishes puts into all of them.

    stream;TOPIC            tube: what is published while there is no channel, and what others put
    stream;TOPIC;CHANNEL    tube of the channel, and signal: there is this channel

Ids travel behind the bodies (`stamp`), with a count: 0 is a message that was not dealt to the channels yet, which
whoever receives it does; n is the n-th attempt, not counting how often the broker handed out this job. A new channel
gets what is published from `signal_pace` seconds later on, for so long publishers trust what they know.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from oche.errors import LeaseLost
from oche.queues.opening import open_queue
from oche.queues.seam import DEFAULT_LEASE, Delivery, Queue, State
from oche.streams.ids import new_id
from oche.streams.seam import Message, Parcel, Topics
from oche.streams.stamp import read_stamp, stamp

#: Messages dealt at a time.
_BATCH = 500


class QueueTopics(Topics):
    """Topics over an open queue, which it closes with itself."""

    lease = DEFAULT_LEASE

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._known: dict[str, tuple[float, list[str]]] = {}  # topic: when we looked, tubes of its channels
        self._topic = self._tube = ""
        self._watched: tuple[str, ...] = ()

    @classmethod
    def open(cls, url: str) -> Self:
        """Any URL of a queue."""
        return cls(open_queue(url))

    def clone(self) -> Self:
        return type(self)(self._queue.clone())

    def publish(self, topic: str, parcels: Sequence[Parcel]) -> None:
        self._put(topic, [(parcel.body, parcel.id) for parcel in parcels])

    def subscribe(self, topic: str, channel: str) -> None:
        self._topic, self._tube = topic, tube_of(topic, channel)
        self._watched = (self._tube, tube_of(topic))
        self._queue.signal(self._tube)

    def receive(self, limit: int, timeout: float) -> list[Message]:
        end = time.monotonic() + timeout
        while True:
            taken = self._queue.reserve_many(self._watched, limit, max(0.0, end - time.monotonic()))
            stamps = [read_stamp(delivery.body) for delivery in taken]
            ours = [pair for pair in zip(taken, stamps, strict=True) if pair[1][2]]
            if len(ours) < len(taken):
                self._deal([pair for pair in zip(taken, stamps, strict=True) if not pair[1][2]])
            if ours:
                counts = self._queue.attempts_many([delivery for delivery, _ in ours])
                return [
                    Message(id, body, count - 1 + handed, delivery)
                    for (delivery, (body, id, count)), handed in zip(ours, counts, strict=True)
                    if handed
                ]
            if not taken or time.monotonic() >= end:
                return []

    def ack(self, messages: Sequence[Message]) -> None:
        self._queue.delete_many([_delivery(message) for message in messages])

    def retry(self, message: Message, delay: float) -> None:
        # A release would not count: it goes on as a copy that says so.
        copy = stamp(message.body, message.id, message.attempts + 1)
        with suppress(LeaseLost):
            self._queue.touch(_delivery(message))  # else there is one elsewhere already
            self._queue.put(self._tube, copy, delay=delay, lease=self.lease)
            self._queue.delete(_delivery(message))

    def release(self, messages: Sequence[Message]) -> None:
        for message in messages:
            with suppress(LeaseLost):
                self._queue.release(_delivery(message))

    def touch(self, messages: Sequence[Message]) -> None:
        for message in messages:
            with suppress(LeaseLost):
                self._queue.touch(_delivery(message))

    def depth(self, topic: str) -> int:
        counts = [self._queue.stats(tube) for tube in (tube_of(topic), *self._channels(topic))]
        return max(count.ready + count.delayed for count in counts)

    def remove(self, topic: str, channel: str) -> None:
        tube = tube_of(topic, channel)
        self._queue.unsignal(tube)
        for state in (State.DELAYED, State.READY):
            while (job := self._queue.peek(tube, state)) is not None:
                self._queue.discard(job.id)

    def close(self) -> None:
        self._queue.close()

    # --- what they stand on

    def _channels(self, topic: str) -> list[str]:
        now = time.monotonic()
        looked, tubes = self._known.get(topic, (float("-inf"), []))
        if now - looked > self._queue.traits.signal_pace:
            tubes = sorted(self._queue.signals(tube_of(topic, "")))
            self._known[topic] = (now, tubes)
        return tubes

    def _put(self, topic: str, bodies: Sequence[tuple[bytes, str]]) -> None:
        tubes = self._channels(topic)
        for tube in tubes or [tube_of(topic)]:
            copies = [stamp(body, id, 1 if tubes else 0) for body, id in bodies]
            self._queue.put_many(tube, copies, lease=self.lease)

    def _deal(self, pairs: Sequence[tuple[Delivery, tuple[bytes, str, int]]]) -> None:
        """Gives messages that no channel had yet to all of them; those from elsewhere get their ids on the way."""
        self._queue.signal(self._tube)  # should somebody have removed it: else they would go round in a circle
        self._known.pop(self._topic, None)
        while pairs:
            self._put(self._topic, [(body, id or new_id()) for _, (body, id, _) in pairs])
            done = [delivery for delivery, _ in pairs]
            more = self._queue.reserve_many((tube_of(self._topic),), _BATCH, 0.0, done=done)
            pairs = [(delivery, read_stamp(delivery.body)) for delivery in more]


def tube_of(topic: str, channel: str | None = None) -> str:
    """The tube of a channel; of the topic itself, if none is named."""
    return f"stream;{topic}" if channel is None else f"stream;{topic};{channel}"


def _delivery(message: Message) -> Delivery:
    assert isinstance(message.handle, Delivery)
    return message.handle
