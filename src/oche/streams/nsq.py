"""Topics on NSQ, whose own topics and channels these are: messages come from all nsqds, and go to one of them.

The bodies are plain: `curl -d '{"number": 7}' http://host:4151/pub?topic=numbers` feeds a pipeline. NSQ has no headers;
ids travel behind the bodies (`stamp`), and a message without one has an id that follows from nsqd's own for it.

An nsqd that goes is left out until it is back, as long as another is there; what was held from it is handled all
the same, for an nsqd that is killed forgets what it had handed out. It counts attempts by itself, so that a release
counts, too, and it keeps a message for its receiver up to its --max-msg-timeout (15 min) and no longer.
"""

from __future__ import annotations

import random
import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import Self, TypeVar

from nsq import protocol

from oche.errors import Closed, Disconnected, QueueError
from oche.queues.nsq.api import Api
from oche.queues.nsq.nodes import Address, Directory
from oche.queues.nsq.wire import Arrival, Line
from oche.streams.ids import derived_id
from oche.streams.nsq_line import CONNECT, ME, Subscription
from oche.streams.seam import Message, Parcel, Topics
from oche.streams.stamp import read_stamp, stamp

#: Seconds between two looks for nsqds that were away, or are new.
LOOK = 2.0
#: Messages, and about as many bytes, published in one go.
BATCH, BATCH_BYTES = 200, 2**19

_T = TypeVar("_T")


class NSQTopics(Topics):
    """Connections to all nsqds behind a URL."""

    lease = 5.0
    release_counts = True

    def __init__(self, url: str) -> None:
        self._url = url
        self._closed = False
        self._channel: tuple[str, str] | None = None
        self._directory = Directory(url)
        self._lines: dict[Address, Subscription] = {}
        # Of lines that broke: nsqd may have forgotten them.
        self._orphans: deque[tuple[Subscription, Arrival]] = deque()
        self._post: Line | None = None
        self._looked = float("-inf")
        self._known = self._find()
        self._posting()

    @classmethod
    def open(cls, url: str) -> Self:
        """`nsq://host:4150,host2:4150` or `nsq+lookupd://host:4161`."""
        return cls(url)

    def clone(self) -> Self:
        return type(self)(self._url)

    def publish(self, topic: str, parcels: Sequence[Parcel]) -> None:
        batch: list[bytes] = []
        size = 0
        for parcel in parcels:
            batch.append(stamp(parcel.body, parcel.id))
            size += len(batch[-1])
            if len(batch) == BATCH or size > BATCH_BYTES:
                self._put(topic, batch)
                batch, size = [], 0
        if batch:
            self._put(topic, batch)

    def subscribe(self, topic: str, channel: str) -> None:
        self._channel = (topic, channel)
        for line in self._lines.values():
            line.close()
        self._lines = {}
        self._look(now=True)

    def receive(self, limit: int, timeout: float) -> list[Message]:
        end = time.monotonic() + timeout
        while True:
            if self._orphans:
                return [_message(*self._orphans.popleft()) for _ in range(min(limit, len(self._orphans)))]
            self._look()
            lines = list(self._lines.values())
            if not any(line.arrived for line in lines):
                for line in lines:
                    self._try(line, lambda line: line.let(len(line.held) - (-limit // len(self._lines))))
                self._wait(min(max(0.0, end - time.monotonic()), LOOK))
                for line in list(self._lines.values()):
                    self._try(line, lambda line: line.let(0))
            got = [(line, line.arrived.popleft()) for line in self._lines.values() for _ in range(len(line.arrived))]
            for line, arrival in got[limit:]:
                line.arrived.append(arrival)
            if got or (time.monotonic() >= end and not self._orphans):
                return [_message(line, arrival) for line, arrival in got[:limit]]

    def ack(self, messages: Sequence[Message]) -> None:
        self._tell(messages, protocol.finish, ends=True)

    def retry(self, message: Message, delay: float) -> None:
        self._tell([message], lambda id: protocol.requeue(id, round(delay * 1000)), ends=True)

    def release(self, messages: Sequence[Message]) -> None:
        self._tell(messages, lambda id: protocol.requeue(id, 0), ends=True)

    def touch(self, messages: Sequence[Message]) -> None:
        self._wait(0.0)
        self._tell(messages, protocol.touch)
        for line in list(self._lines.values()):
            waiting = b"".join(protocol.touch(arrival.id) for arrival in line.arrived)
            self._try(line, lambda line, waiting=waiting: line.send(waiting))  # type: ignore[misc]

    def depth(self, topic: str) -> int:
        self._wait(0.0)
        waiting: dict[str, int] = {}
        unread = 0
        for found in self._each(lambda api: api.topic(topic)):
            unread += found.depth
            for each in found.channels or ():
                waiting[each.channel_name] = waiting.get(each.channel_name, 0) + each.depth + each.deferred_count
        return unread + max(waiting.values(), default=0)

    def remove(self, topic: str, channel: str) -> None:
        self._each(lambda api: api.drop(topic, channel))

    def close(self) -> None:
        self._closed = True
        for line in (*self._lines.values(), self._post):
            if line is not None:
                line.close()

    # --- what they stand on

    def _find(self) -> list[Address]:
        try:
            return self._directory.addresses()
        except OSError as error:
            raise Disconnected(f"{self._url}: {error}; start it or mend the URL") from error

    def _look(self, *, now: bool = False) -> None:
        """Connects to the nsqds that we have not; raises `Disconnected` if there is none at all."""
        if self._closed:
            raise Closed("the topics were closed; clone() or open others")
        if self._channel is None:
            raise QueueError("nothing is subscribed to; call subscribe(topic, channel)")
        if now or not self._lines or time.monotonic() - self._looked > LOOK:
            self._looked = time.monotonic()
            with suppress(Disconnected):  # nsqlookupd is away: then we know those of before
                self._known = self._find()
            for address in set(self._known) - self._lines.keys():
                with suppress(OSError):
                    self._lines[address] = Subscription(address, *self._channel, self.lease)
        if not self._lines:
            raise Disconnected(f"no nsqd of {self._url} answers; start one or mend the URL")

    def _wait(self, seconds: float) -> None:
        """Until something has come; takes it in."""
        by_socket = {line.socket: line for line in self._lines.values()}
        try:
            readable = select.select(list(by_socket), [], [], seconds)[0] if by_socket else []
        except (OSError, ValueError):
            readable = list(by_socket)
        for one in readable:
            self._try(by_socket[one], Subscription.receive)
        if self._closed:
            raise Closed("the topics were closed while they waited")

    def _try(self, line: Subscription, verb: Callable[[Subscription], object]) -> None:
        """Does it; a line that breaks is left out from then on."""
        try:
            verb(line)
        except OSError:
            line.drain()
            line.close()
            if self._lines.get(line.address) is line:
                del self._lines[line.address]
                self._orphans.extend((line, arrival) for arrival in line.arrived)

    def _tell(self, messages: Sequence[Message], command: Callable[[bytes], bytes], *, ends: bool = False) -> None:
        """Says this of those that are held still; with `ends` they are not from then on."""
        if self._closed:
            raise Closed("the topics were closed; clone() or open others")
        for line in list(self._lines.values()):
            ids = [
                id for held, id, delivery in map(_handle, messages) if held is line and line.held.get(id) == delivery
            ]
            if ends:
                for id in ids:
                    line.held.pop(id, None)  # a killed nsqd may have it twice
            if ids:
                self._try(line, lambda line, ids=ids: line.send(b"".join(map(command, ids))))  # type: ignore[misc]

    def _put(self, topic: str, bodies: list[bytes]) -> None:
        """To one nsqd; where that does not answer, to another one."""
        while True:
            line = self._posting()
            try:
                line.ask(protocol.mpub(topic, bodies))
                return
            except OSError:
                self._part(line)
                if self._closed:
                    raise Closed("the topics were closed; clone() or open others") from None
            except BaseException:
                self._part(line)  # what it answers next would be an answer to this
                raise

    def _posting(self) -> Line:
        """The line that is published over; raises `Disconnected` if there is no nsqd at all."""
        if self._closed:
            raise Closed("the topics were closed; clone() or open others")
        if self._post is None:
            trouble: OSError | None = None
            for address in random.Random().sample(self._known, len(self._known)):
                try:
                    self._post = Line(address.host, address.tcp, ME, CONNECT)
                    return self._post
                except OSError as error:
                    trouble = error
            raise Disconnected(f"no nsqd of {self._url} answers ({trouble}); start one or mend the URL")
        return self._post

    def _part(self, post: Line) -> None:
        post.close()
        self._post = None

    def _each(self, verb: Callable[[Api], _T]) -> list[_T]:
        """What each nsqd says to it; one that is away is left out."""
        said = []
        for address in self._known:
            with suppress(OSError), closing(Api(address.host, address.http)) as api:
                said.append(verb(api))
        return said


def _message(line: Subscription, arrival: Arrival) -> Message:
    body, id, _ = read_stamp(arrival.message)
    if not id:
        host, port, _ = line.address
        id = derived_id(host, port, arrival.id.decode(errors="replace"))
    return Message(id, body, arrival.attempts, (line, arrival.id, arrival.attempts))


def _handle(message: Message) -> tuple[Subscription, bytes, int]:
    handle = message.handle
    assert isinstance(handle, tuple)
    return handle
