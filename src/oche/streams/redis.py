"""Topics on Redis streams: an entry is a message, a consumer group is a channel, and `redis.lua` has the verbs.

A message stays in its group's list of pending entries until it is acknowledged. One whose lease ran out is claimed
by who receives next; one to be tried again waits there, too, for its time, with nobody renewing it. What is published
twice with one id is dropped by the server, if the first was one of the last 100,000 of its topic. Other programs add
entries with a field `body` that holds JSON; without one, the fields are the message.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Self
from urllib.parse import urlsplit

from oche.errors import ConfigError, QueueError
from oche.queues.redis.wire import Conversation
from oche.streams.ids import WINDOW
from oche.streams.seam import Message, Parcel, Topics

#: Seconds between two looks at what is to be had again, while anything is held or waits for a retry.
LOOK = 0.5
#: Seconds after which a receiver that holds nothing and does nothing is forgotten.
FORGET = 3600.0
#: Messages, and about as many bytes, published in one go: the server does nothing else meanwhile.
BATCH, BATCH_BYTES = 500, 2**20


class RedisTopics(Topics):
    """A connection to a Redis 7, a Valkey, or newer."""

    lease = 5.0

    def __init__(self, url: str) -> None:
        self._url = url
        self._wire = Conversation(url, files("oche.streams").joinpath("redis.lua").read_text())
        try:
            self._me = f"{self._wire.info('server')['run_id']}.{self._wire.command('CLIENT', 'ID')}"
        except BaseException:
            self._wire.close("depth", "")
            raise
        self._topic = self._channel = ""
        self._next_look = 0.0

    @classmethod
    def open(cls, url: str) -> Self:
        """`redis://host:6379/0`, `rediss://` with TLS, `valkey://`, as the queue driver takes them."""
        if urlsplit(url).scheme not in ("redis", "rediss", "valkey") or not urlsplit(url).hostname:
            raise ConfigError(f"{url!r} is not of the form redis://host:6379/0")
        return cls(url.replace("valkey://", "redis://", 1))

    def clone(self) -> Self:
        return type(self)(self._url)

    def publish(self, topic: str, parcels: Sequence[Parcel]) -> None:
        batch: list[str | bytes] = []
        size = 0
        for parcel in parcels:
            batch += (parcel.id, parcel.body)
            size += len(parcel.body)
            if len(batch) == 2 * BATCH or size > BATCH_BYTES:
                self._wire.run("put", topic, WINDOW, *batch)
                batch, size = [], 0
        if batch:
            self._wire.run("put", topic, WINDOW, *batch)

    def subscribe(self, topic: str, channel: str) -> None:
        self._topic, self._channel = topic, channel
        self._wire.run("subscribe", topic, channel, round(FORGET * 1000))

    def receive(self, limit: int, timeout: float) -> list[Message]:
        end = time.monotonic() + timeout
        try:
            return self._receive(limit, end)
        except QueueError as error:
            if "NOGROUP" not in str(error):
                raise
            self.subscribe(self._topic, self._channel)  # somebody removed it, or the server forgot it
            return []

    def _receive(self, limit: int, end: float) -> list[Message]:
        while True:
            now = time.monotonic()
            if now >= self._next_look:
                again, held = self._run("again", self._me, round(self.lease * 1000), limit)
                # With nothing held, nothing can be to be had again before a lease has passed.
                self._next_look = now + (LOOK if held else self.lease)
                if again:
                    return [self._message(*entry) for entry in again]
            wait = min(end, self._next_look) - time.monotonic()
            if got := self._read(limit, wait):
                return [self._message(entry, fields, 1) for entry, fields in got]
            if time.monotonic() >= end:
                return []

    def ack(self, messages: Sequence[Message]) -> None:
        self._each("ack", messages)

    def retry(self, message: Message, delay: float) -> None:
        self._each("retry", [message], round(delay * 1000))
        self._next_look = min(self._next_look, time.monotonic() + delay)

    def release(self, messages: Sequence[Message]) -> None:
        self._each("release", messages)
        self._next_look = 0.0

    def touch(self, messages: Sequence[Message]) -> None:
        self._each("touch", messages)

    def depth(self, topic: str) -> int:
        return int(self._wire.run("depth", topic))

    def remove(self, topic: str, channel: str) -> None:
        self._wire.run("remove", topic, channel)

    def close(self) -> None:
        self._wire.close("depth", "")

    # --- what they stand on

    def _run(self, verb: str, *arguments: Any) -> Any:
        return self._wire.run(verb, self._topic, self._channel, *arguments)

    def _each(self, verb: str, messages: Sequence[Message], *more: Any) -> None:
        if messages:
            pairs = [part for message in messages for part in (message.handle, message.attempts)]
            self._run(verb, self._me, *more, *pairs)

    def _read(self, limit: int, wait: float) -> list[Any]:
        """New entries; waits for the first."""
        block = ("BLOCK", max(1, round(wait * 1000))) if wait > 0.0 else ()
        stream = f"oche:stream:{self._topic}"
        group = ("GROUP", self._channel, self._me, "COUNT", limit, *block)
        found = self._wire.command("XREADGROUP", *group, "STREAMS", stream, ">")
        if isinstance(found, dict):  # RESP3
            found = list(found.items())
        return list(found[0][1]) if found else []

    def _message(self, entry: bytes, fields: list[bytes], attempts: int) -> Message:
        named = dict(zip(fields[::2], fields[1::2], strict=True))
        id = named.get(b"id", entry).decode(errors="replace")
        body = named.get(b"body")
        if body is None:
            texts = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in named.items()}
            body = json.dumps(texts, ensure_ascii=False).encode()
        return Message(id, body, attempts, entry)
