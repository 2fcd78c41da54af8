"""Where the nsqds are, and what there is of one: a line to put over, lines to take jobs from, its HTTP API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from http.client import HTTPException
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener
from uuid import uuid4

import msgspec
from nsq import protocol

from oche.errors import ConfigError
from oche.queues.nsq.api import Api, Topic
from oche.queues.nsq.names import CHANNEL, EPHEMERAL, LIFE, Facts, wrap
from oche.queues.nsq.wire import Line

SCHEME, LOOKUP = "nsq", "nsq+lookupd"
PORT, LOOKUP_PORT = 4150, 4161
#: Seconds between two looks for nsqds that were away or are new.
PACE, PACE_LOOKUP = 3.0, 10.0

_ANSWER = 5.0  # seconds
#: Seconds: so short a delay is none.
NOW = 0.02
#: Looks, and seconds between two of them, until a message that is on its way inside nsqd is counted.
_LOOKS, _APART = 10, 0.002
#: Messages, and about as many bytes, put in one go.
_BATCH, _BATCH_BYTES = 200, 2**19


class Address(NamedTuple):
    """Of one nsqd."""

    host: str
    tcp: int
    http: int


class _Producer(msgspec.Struct):
    broadcast_address: str
    tcp_port: int
    http_port: int


class _Nodes(msgspec.Struct):
    producers: list[_Producer]


class Directory:
    """Says where the nsqds are, by the URL. Raises `ConfigError` for one that cannot be right."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._asked = parts.scheme == LOOKUP
        self.pace = PACE_LOOKUP if self._asked else PACE  #: seconds between two looks
        port = LOOKUP_PORT if self._asked else PORT
        form = f"{parts.scheme}://host:{port},host2:{port}"
        if parts.scheme not in (SCHEME, LOOKUP) or parts.path not in ("", "/") or parts.query or "@" in parts.netloc:
            raise ConfigError(f"{url!r} is not of the form {form}")
        self._places: list[tuple[str, int]] = []
        for place in parts.netloc.split(","):
            try:
                one = urlsplit(f"//{place}")
                host, number = one.hostname, one.port
            except ValueError as error:
                raise ConfigError(f"{url!r}: {error}; write {form}") from error
            if not host:
                raise ConfigError(f"{url!r} is not of the form {form}")
            self._places.append((host, port if number is None else number))
        self.where = f"{'nsqlookupd' if self._asked else 'nsqd'} at {parts.netloc}"

    def addresses(self) -> list[Address]:
        """Of all nsqds that there should be. Raises `OSError` if none of those who know answers."""
        if not self._asked:
            # Nobody can ask an nsqd for its second port; by default it is the next one.
            return [Address(host, port, port + 1) for host, port in self._places]
        found: dict[Address, None] = {}
        trouble: Exception | None = None
        answers = 0
        for host, port in self._places:
            try:
                with build_opener(ProxyHandler({})).open(f"http://{host}:{port}/nodes", timeout=_ANSWER) as answer:
                    producers = msgspec.json.decode(answer.read(), type=_Nodes).producers
            except (OSError, HTTPException, msgspec.DecodeError) as error:
                trouble = error
                continue
            answers += 1
            found |= {Address(each.broadcast_address, each.tcp_port, each.http_port): None for each in producers}
        if not answers:
            raise ConnectionError(f"{self.where} does not answer ({trouble!r})") from trouble
        return list(found)


class Node:
    """One nsqd, for one connection of ours. Raises `OSError` when it is away, at every verb."""

    def __init__(self, address: Address, me: str, patience: float) -> None:
        self.address = address
        self._me, self._patience = me, patience
        self.lines: dict[str, Line] = {}  #: by the tube that is watched
        self.founded: set[str] = set()  #: topics that were not there before they were watched
        self._made: set[str] = set()
        self._came: dict[str, int] = {}  # by topic, messages that had come to its channel at the last look
        self.api = Api(address.host, address.http)
        self.post = Line(address.host, address.tcp, me, patience)
        try:
            self.life = self.post.life = self._find_life()
            self.largest = self.api.option("max_msg_size")  #: bytes of a message
            self.longest_delay = self.api.option("max_req_timeout") // 10**6  #: milliseconds
        except BaseException:
            self.close()
            raise

    def _find_life(self) -> str:
        """A topic that ends with this nsqd names the life of it."""
        for _ in range(2):
            if names := sorted(each.topic_name for each in self.api.topics() if each.topic_name.startswith(LIFE)):
                break
            self.api.make(f"{LIFE}{uuid4().hex[:16]}{EPHEMERAL}")
        return names[0]

    def subscribe(self, topic: str) -> Line:
        """A line over which the topic's jobs come. Raises `OSError` if the topic was deleted at this moment."""
        line = Line(self.address.host, self.address.tcp, self._me, self._patience)
        line.life = self.life
        try:
            before = self.api.topic(topic)
            if before.channels is None:
                self.founded.add(topic)
            line.subscribe(topic, CHANNEL)
            if not any(client.client_id == self._me for client in self.api.topic(topic).ours.clients or ()):
                raise ConnectionError(f"topic {topic} of {line.where} went while we came")
        except BaseException:
            line.close()
            raise
        return line

    def settled(self, topic: str, look: Callable[[], list[Topic]]) -> list[Topic]:
        """What `look` finds when no message of this topic seems to be on its way inside nsqd.

        nsqd counts one thing after the other, and on disk each count waits its turn: a message that comes to the
        channel meanwhile may be in none of them. So a look counts if none has come to it since the look before; where
        they come all the time, the third look has to do.
        """
        for number in range(_LOOKS):
            found = look()
            here = next((each for each in found if each.topic_name == topic), Topic(topic))
            before, self._came[topic] = self._came.get(topic), here.ours.message_count
            if here.between:
                time.sleep(_APART)
            elif number > 1 or here.channels is None or before == here.ours.message_count:
                break
        return found

    def leave(self, topic: str) -> None:
        """Deletes a topic that came with us, if nothing is in it and nobody else is there."""
        if topic in self.founded:
            self.founded.discard(topic)
            found = self.api.topic(topic)
            others = {client.client_id for client in found.ours.clients or ()} - {self._me}
            if not found.holds and not others and len(found.channels or ()) == 1:
                self.drop(topic)

    def drop(self, topic: str) -> None:
        """Deletes a topic."""
        self._made.discard(topic)
        self._came.pop(topic, None)
        self.api.drop(topic)

    def put(self, topic: str, bodies: Iterable[bytes], facts: Facts, *, channel: bool = True) -> None:
        """Stores a message for each body; at `facts.due`, where that is set, they will be ready.

        With `channel` it is made first, lest who only looks at the topic takes what is for us.
        """
        if channel and topic not in self._made:
            self.api.make(topic, CHANNEL)
            self._made.add(topic)
        for batch in _batches(bodies, facts):
            delay = facts.due - time.time() if facts.due else 0.0
            if delay > NOW:
                wait = min(round(delay * 1000), self.longest_delay)
                self.post.ask(b"".join(protocol.dpub(topic, wait, message) for message in batch), len(batch))
            elif len(batch) == 1:
                self.post.ask(protocol.pub(topic, batch[0]))
            else:
                self.post.ask(protocol.mpub(topic, batch))

    def close(self) -> None:
        """Ends all lines."""
        self.api.close()
        for line in (self.post, *self.lines.values()):
            line.close()


def _batches(bodies: Iterable[bytes], facts: Facts) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for body in bodies:
        message = wrap(body, facts)
        if batch and (len(batch) == _BATCH or size + len(message) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += len(message)
    if batch:
        yield batch
