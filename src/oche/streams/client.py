"""The face of streams: publish, read, run stages."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any, Self, TypeVar

from oche.errors import ConfigError, Disconnected
from oche.streams.calling import read_json, write_json
from oche.streams.ids import Lately, new_id
from oche.streams.node import Node
from oche.streams.opening import open_topics
from oche.streams.reopening import reopen
from oche.streams.seam import Message, Parcel, Topics, check_topic
from oche.streams.stage import load_stages
from oche.wire.names import Farm, split_farm
from oche.worker.cores import usable_cores

#: Messages published, and received, at a time.
_BATCH = 500
_READ = 100
#: Seconds that a broker which was lost is waited for.
PATIENCE = 30.0

T = TypeVar("T")


def connect(url: str | None = None) -> Streams:
    """Opens the topics of the broker behind a URL; without one, of `OCHE_URL`, else of this process, `local:`.

    `?farm=NAME` keeps apart those who share a broker: their topics are called `NAME.TOPIC` there.

    Raises `ConfigError` for a URL that cannot be right, `Disconnected` where no broker answers.
    """
    address, farm = split_farm(url or os.environ.get("OCHE_URL") or "local:")
    return Streams(open_topics(address), "" if farm == Farm() else f"{farm.name}.")


class Streams:
    """Topics of a broker. Used by one thread at a time. `prefix` goes before all names of topics there."""

    def __init__(self, topics: Topics, prefix: str = "") -> None:
        self._topics = topics
        self._prefix = prefix

    def publish(self, topic: str, *values: Any) -> None:
        """Publishes each value, as JSON, to all channels of the topic; before there is one they wait for it.

        A broker that is lost is waited for, for 30 s, and what may have been published is published again with the
        same ids. Raises `ConfigError` for what JSON cannot hold (nothing is published then), `Disconnected`,
        `QueueFull`, `TooLarge`; of a batch of 500, any may have been published then.
        """
        name = self._name(topic)
        parcels = [Parcel(new_id(), write_json(value).encode()) for value in values]
        for place in range(0, len(parcels), _BATCH):
            batch = parcels[place : place + _BATCH]
            self._through(lambda topics, batch=batch: topics.publish(name, batch))  # type: ignore[misc]

    def read(
        self, topic: str, *, channel: str, limit: int | None = None, timeout: float | None = None
    ) -> Iterator[Any]:
        """The messages of a channel, as they come; ends after `limit`, or when none has come for `timeout` seconds.

        One is acknowledged when the next is asked for, or the end; who breaks off has the last one again. Duplicates
        among the last 100,000 are dropped. Has a connection of its own; a broker that is lost is waited for, for 30 s.
        Raises `Disconnected`, and `ValueError` for a message that is not JSON, which stays.
        """
        lately, left = Lately(), float("inf") if limit is None else limit
        wanted = (self._name(topic), check_topic(channel, "channel"))
        topics = self._topics.clone()
        try:
            topics.subscribe(*wanted)
            while left > 0:
                try:
                    messages = _received(topics, int(min(left, _READ)), timeout)
                    if not messages:
                        return
                    with closing(_each(topics, messages, lately)) as values:
                        for value in values:
                            left -= 1
                            yield value
                except Disconnected as error:
                    topics = reopen(topics, wanted, error, closing=threading.Event(), patience=PATIENCE)
        finally:
            topics.close()

    def subscribe(self, topic: str, *, channel: str) -> None:
        """Makes the channel, if it is not there: it keeps what is published from now on."""
        name, making = self._name(topic), check_topic(channel, "channel")
        with self._through(lambda topics: topics.clone()) as topics:
            topics.subscribe(name, making)

    def depth(self, topic: str) -> int:
        """Messages that wait in the fullest channel of the topic, or in the topic while it has none."""
        name = self._name(topic)
        return self._through(lambda topics: topics.depth(name))

    def remove(self, topic: str, *, channel: str) -> None:
        """Ends the channel with all that waits in it."""
        name, ending = self._name(topic), check_topic(channel, "channel")
        self._through(lambda topics: topics.remove(name, ending))

    def start(self, target: str, *, slots: int | None = None, until_idle: float | None = None) -> Node:
        """Runs the stages of a file or module with `slots` processes for each (as many as cores), until it is left:

            with streams.start(__file__): ...

        `until_idle`: it ends by itself when for so many seconds no message has come; `join()` waits for that.
        """
        node = self.node(target, slots=slots, until_idle=until_idle)
        node.start()
        return node

    def node(self, target: str, *, slots: int | None = None, until_idle: float | None = None) -> Node:
        """As `start`, but not started. Raises `ConfigError` for what has no stages, and what the file raises."""
        count = usable_cores() if slots is None else slots
        if count < 1:
            raise ConfigError(f"slots={slots!r} cannot be used: give 1 or more")
        stages = list(load_stages(target).values())
        return Node(self._topics, target, stages, slots=count, prefix=self._prefix, until_idle=until_idle)

    def close(self) -> None:
        """Ends the connection."""
        self._topics.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _through(self, verb: Callable[[Topics], T]) -> T:
        """Does it, again over a new connection if need be, for as long as `PATIENCE` lasts."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return verb(self._topics)
            except Disconnected as error:
                left = end - time.monotonic()
                if left < 0.0:
                    raise
                self._topics = reopen(self._topics, None, error, closing=threading.Event(), patience=left)

    def _name(self, topic: str) -> str:
        return check_topic(f"{self._prefix}{check_topic(topic)}")


def _received(topics: Topics, limit: int, timeout: float | None) -> list[Message]:
    end = time.monotonic() + (float("inf") if timeout is None else timeout)
    while not (messages := topics.receive(limit, max(0.0, min(topics.lease, end - time.monotonic())))):
        if time.monotonic() >= end:
            return []
    return messages


def _each(topics: Topics, messages: list[Message], lately: Lately) -> Generator[Any, None, None]:
    """The values of those that are new."""
    done: list[Message] = []
    left = messages
    touched = time.monotonic()
    try:
        while left:
            if left[0].id not in lately:
                yield read_json(left[0].body)
            lately.add(left[0].id)
            done.append(left[0])
            left = left[1:]
            if time.monotonic() - touched > topics.lease / 3.0:
                topics.ack(done)
                topics.touch(left)
                done, touched = [], time.monotonic()
    finally:
        topics.ack(done)
        topics.release(left)
