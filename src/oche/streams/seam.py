"""The seam to a broker of topics and channels: every channel of a topic gets each message of it once.

    publish -> TOPIC -+-> channel A -> receive -> ack      gone from A
                      |                  |  ^
                      |                  |  | touch: the lease starts again
                      |                  +--+ retry, release, or the lease runs out: to be had again
                      +-> channel B ...

A driver implements `Topics` for one broker. One object is one connection, used by one thread at a time; only `close`
may be called from a second one: a `receive` that waits then raises `Closed`. `oche.testing.streams_suite` checks:
- what is published before a topic has a channel waits for the first one;
- a message of a channel is handed to one receiver at a time, at least once, until it is acknowledged; so its lease
  is renewed, or it is handed out again; also when its receiver's connection ends;
- a message keeps its id over all this; one that came from elsewhere, without an id of ours, is given one;
- a broken connection raises `Disconnected`, at every verb, for good.

Bodies are JSON as it was published. All times are in seconds (float).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from oche.errors import ConfigError

#: Added to a topic's name: where its messages go that failed at every attempt.
DEAD = ".dead"
_NAME = re.compile(r"[.a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is published."""

    id: str  #: who gets two of one id may drop one of them
    body: bytes  #: JSON


@dataclass(frozen=True, slots=True)
class Message:
    """What was handed to this connection."""

    id: str
    body: bytes
    attempts: int  #: how often it was handed out, this time included, as far as attempts count; at least 1
    handle: object  #: the driver's own


class Topics(ABC):
    """One connection to a broker, and one subscription at most."""

    lease: float  #: seconds that a message is kept for its receiver without being touched
    release_counts = False  #: the attempt counts also where a message is released

    @classmethod
    @abstractmethod
    def open(cls, url: str) -> Self:
        """Connects. Raises `ConfigError` for a URL that cannot be right, `Disconnected` if nobody answers."""

    @abstractmethod
    def clone(self) -> Self:
        """Opens another connection to the same broker; it has no subscription."""

    @abstractmethod
    def publish(self, topic: str, parcels: Sequence[Parcel]) -> None:
        """Gives them to every channel of the topic. If it raises, any of them may have been published."""

    @abstractmethod
    def subscribe(self, topic: str, channel: str) -> None:
        """From now on this connection receives from this channel, which is made if it is not there."""

    @abstractmethod
    def receive(self, limit: int, timeout: float) -> list[Message]:
        """Waits up to `timeout` for a message of the channel, and takes what else is ready, `limit` in all."""

    @abstractmethod
    def ack(self, messages: Sequence[Message]) -> None:
        """These are done. One that is not held any more is passed over, here and below."""

    @abstractmethod
    def retry(self, message: Message, delay: float) -> None:
        """It is to be had again after `delay` seconds, and the attempt counts."""

    @abstractmethod
    def release(self, messages: Sequence[Message]) -> None:
        """They are to be had again at once; the attempt does not count, unless `release_counts`."""

    @abstractmethod
    def touch(self, messages: Sequence[Message]) -> None:
        """Their leases start again."""

    @abstractmethod
    def depth(self, topic: str) -> int:
        """Messages that wait in the fullest channel of the topic, or in the topic while it has none."""

    @abstractmethod
    def remove(self, topic: str, channel: str) -> None:
        """Ends the channel with all that waits in it; nothing happens if there is none."""

    @abstractmethod
    def close(self) -> None:
        """Ends the connection; what it holds is to be had again. May be called twice and from any thread."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def check_topic(name: object, what: str = "topic") -> str:
    """Returns the name; raises `ConfigError` unless every broker can carry it (NSQ's rule)."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(f"{what} {name!r} cannot be used: take 1 to 64 letters, digits or any of . _ -")
    return name
