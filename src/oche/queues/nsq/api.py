"""The HTTP API of nsqd, for what its protocol cannot say: counts, and topics made and deleted without a message."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import urlencode

import msgspec

from oche.errors import QueueError
from oche.queues.nsq.names import CHANNEL

#: Seconds for an answer.
ANSWER = 10.0
#: State of a connection that takes no more messages.
CLOSING = 4

_MISSING = 404


class Client(msgspec.Struct):
    """A connection that is subscribed."""

    client_id: str = ""
    state: int = 0
    ready_count: int = 0
    in_flight_count: int = 0


class Channel(msgspec.Struct):
    """A channel of a topic."""

    channel_name: str
    depth: int = 0
    in_flight_count: int = 0
    deferred_count: int = 0
    message_count: int = 0
    client_count: int = 0
    clients: list[Client] | None = None


class Topic(msgspec.Struct):
    """A topic, with what is in it and not yet in a channel."""

    topic_name: str
    depth: int = 0
    message_count: int = 0
    channels: list[Channel] | None = None

    @property
    def ours(self) -> Channel:
        """The channel that jobs are read from; an empty one if it is not there."""
        return next((each for each in self.channels or () if each.channel_name == CHANNEL), Channel(CHANNEL))

    @property
    def between(self) -> bool:
        """Whether a message seems to be on its way from the topic to the channel: nobody knows yet what it will be."""
        channels = self.channels or ()
        ours = next((each for each in channels if each.channel_name == CHANNEL), None)
        if ours is None or self.depth > 0:
            return ours is not None
        # Where there are others, ours may be younger than the first messages.
        return self.message_count > ours.message_count and (ours.message_count > 0 or len(channels) == 1)

    @property
    def waiting(self) -> int:
        """Messages to be had at once."""
        return self.depth + self.ours.depth

    @property
    def holds(self) -> int:
        """All of its messages."""
        return self.waiting + self.ours.in_flight_count + self.ours.deferred_count


class _Info(msgspec.Struct):
    version: str


class _Stats(msgspec.Struct):
    topics: list[Topic] | None = None


class Api:
    """Of one nsqd; not for two threads at once. Raises `OSError` when it is away."""

    def __init__(self, host: str, port: int) -> None:
        self.where = f"the HTTP API of nsqd at {host}:{port}"
        self._wire = http.client.HTTPConnection(host, port, timeout=ANSWER)

    def topics(self, *, clients: bool = False) -> list[Topic]:
        """All topics."""
        return self._stats(include_clients="true" if clients else "false")

    def topic(self, name: str) -> Topic:
        """One topic, with its clients; an empty one if it is not there."""
        return next(iter(self._stats(topic=name, include_clients="true")), Topic(name))

    def make(self, topic: str, channel: str = "") -> None:
        """Makes the topic, and the channel if one is named, unless they are there."""
        self._ask("POST", "/topic/create", topic=topic)
        if channel:
            self._ask("POST", "/channel/create", topic=topic, channel=channel)

    def drop(self, topic: str, channel: str = "") -> None:
        """Deletes the topic, or the channel if one is named, with all that is in it, if it is there."""
        if channel:
            self._ask("POST", "/channel/delete", topic=topic, channel=channel)
        else:
            self._ask("POST", "/topic/delete", topic=topic)

    def option(self, name: str) -> int:
        """A number among the server's options."""
        return msgspec.json.decode(self._ask("GET", f"/config/{name}"), type=int)

    def version(self) -> str:
        """Of the server."""
        return msgspec.json.decode(self._ask("GET", "/info"), type=_Info).version

    def close(self) -> None:
        """Ends the connection."""
        self._wire.close()

    def _stats(self, **query: str) -> list[Topic]:
        found = self._ask("GET", "/stats", format="json", include_mem="false", **query)
        return msgspec.json.decode(found, type=_Stats).topics or []

    def _ask(self, method: str, path: str, **query: str) -> bytes:
        """Twice if need be, for all that is asked here can be: a connection that lay idle may have been closed."""
        target = f"{path}?{urlencode(query)}"
        for last in (False, True):
            try:
                self._wire.request(method, target)
                with self._wire.getresponse() as answer:
                    if answer.length is None and not answer.chunked:  # nsqd says it always
                        raise ConnectionError("the answer ended amid its head")
                    body = answer.read()
                break
            except (http.client.HTTPException, OSError) as error:
                self._wire.close()
                if last or isinstance(error, TimeoutError | socket.gaierror | ConnectionRefusedError):
                    raise ConnectionError(f"{self.where} does not answer ({error!r})") from error
        if answer.status >= 400 and not (answer.status == _MISSING and path.endswith("/delete")):
            raise QueueError(f"{self.where} answered {answer.status} {body[:200]!r} to {method} {target}")
        return body
