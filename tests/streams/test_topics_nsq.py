"""Topics on NSQ, against the real nsqd."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from farms import until
from oche.errors import ConfigError, Disconnected, TooLarge
from oche.servers.nsq import KEEPING
from oche.streams.ids import new_id
from oche.streams.seam import Message, Parcel
from oche.testing.servers import NSQD, NSQLookupd, missing
from oche.testing.streams_suite import Rig, StreamsSuite

pytest.importorskip("nsq")
from oche.queues.nsq.nodes import Directory
from oche.streams.nsq import NSQTopics

#: A killed nsqd has lost only what it had handed out.
ON_DISK = ["--mem-queue-size", "0"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NSQD]:
    missing("nsqd", "nsq")
    with NSQD(tmp_path_factory.mktemp("nsqd"), options=ON_DISK) as server:
        yield server


class TestTopicsOnNSQ(StreamsSuite):
    @pytest.fixture
    def rig(self, server: NSQD) -> Rig:
        class BriefNSQTopics(NSQTopics):
            lease = 1.0

        def foreign(topic: str, body: bytes) -> None:
            url = f"http://127.0.0.1:{server.port + 1}/pub?topic={topic}"
            with urlopen(Request(url, data=body), timeout=10.0) as answer:
                assert answer.read() == b"OK"

        return Rig(open=lambda: BriefNSQTopics.open(server.url), foreign=foreign)


@pytest.mark.parametrize("url", ["nsq://", "nsq://host:port", "nsq://a:1,", "nsq+lookupd://"])
def test_a_url_that_cannot_be_right(url: str) -> None:
    with pytest.raises(ConfigError):
        NSQTopics.open(url)


@pytest.mark.parametrize("scheme", ["nsq", "nsq+lookupd"])
def test_nobody_answers(scheme: str) -> None:
    with pytest.raises(Disconnected, match="start"):
        NSQTopics.open(f"{scheme}://127.0.0.1:1")


def test_one_of_two_is_away_and_comes_back(tmp_path: Path) -> None:
    missing("nsqd", "nsq")
    with NSQD(tmp_path / "one", options=ON_DISK) as one, NSQD(tmp_path / "two", options=ON_DISK) as two:
        url = f"nsq://127.0.0.1:{one.port},127.0.0.1:{two.port}"
        parcels = [Parcel(new_id(), b"%d" % number) for number in range(6)]
        with NSQTopics.open(url) as publisher, NSQTopics.open(url) as receiver:
            receiver.subscribe("t", "c")
            for server, batch in ((one, parcels[:2]), (two, parcels[2:4])):
                server.kill()
                publisher.publish("t", batch)
                seen = set()
                while len(seen) < 2:
                    messages = receiver.receive(10, 20.0)
                    assert messages
                    receiver.ack(messages)
                    seen |= {message.id for message in messages} & {parcel.id for parcel in batch}
                server.start()
            one.kill()
            two.kill()
            with pytest.raises(Disconnected):
                publisher.publish("t", parcels)
            until(lambda: _is_lost(receiver), "the receiver has nobody left")


def test_who_keeps_what_was_published_publishes_again_what_nsqd_and_its_receiver_took_along(tmp_path: Path) -> None:
    """nsqd is killed under load, and with it the receiver, which holds messages that nsqd has in its memory only.

    No setting of NSQ's makes those come back. What else was acknowledged does come back, but for one message a kill, on
    its way from the topic to the channel (of 118,562 messages and 200 kills it was one).
    """
    missing("nsqd", "nsq")
    chance = random.Random(seed := int.from_bytes(os.urandom(4)))
    print(f"seed {seed}")
    published, done, held, kills = 0, set[int](), set[int](), 3
    with NSQD(tmp_path / "data", options=KEEPING) as server:
        for _ in range(kills):
            with NSQTopics.open(server.url) as publisher, NSQTopics.open(server.url) as receiver:
                receiver.subscribe("t", "c")
                killer = threading.Timer(chance.uniform(0.3, 0.6), server.kill)  # after nsqd's first sync
                killer.start()
                with suppress(Disconnected):
                    while True:
                        publisher.publish("t", _parcels(range(published, published + 10)))
                        published += 10
                        messages = receiver.receive(10, 1.0)
                        receiver.ack(messages[1:])
                        held |= _numbers(messages[:1])
                        done |= _numbers(messages[1:])
                killer.join()
                with suppress(Disconnected):
                    while True:  # what nsqd had handed out, too
                        held |= _numbers(receiver.receive(10, 0.1))
            server.start()
        lost = set(range(published)) - done - _read(server)
        print(f"{len(lost)} of {published} were lost, {len(lost - held)} of them held by nobody")
        assert len(lost - held) <= kills
        with NSQTopics.open(server.url) as publisher:
            publisher.publish("t", _parcels(lost))
        assert _read(server) == lost


def _parcels(numbers: Iterable[int]) -> list[Parcel]:
    return [Parcel(new_id(), b"%d" % number) for number in numbers]


def _numbers(messages: Iterable[Message]) -> set[int]:
    return {int(message.body) for message in messages}


def _read(server: NSQD) -> set[int]:
    """The numbers that are there."""
    found: set[int] = set()
    with NSQTopics.open(server.url) as topics:
        topics.subscribe("t", "c")
        while messages := topics.receive(1000, 1.0):
            topics.ack(messages)
            found |= _numbers(messages)
    return found


def _is_lost(receiver: NSQTopics) -> bool:
    try:
        receiver.receive(1, 0.1)
    except Disconnected:
        return True
    return False


def test_nsqlookupd_knows_where_they_are(tmp_path: Path) -> None:
    missing("nsqlookupd", "nsq")
    with NSQLookupd() as lookupd, NSQD(tmp_path / "one", lookupds=[lookupd]):
        until(lambda: len(Directory(lookupd.url).addresses()) == 1, "nsqd is known")
        with NSQTopics.open(lookupd.url) as topics:
            topics.subscribe("t", "c")
            topics.publish("t", [Parcel(new_id(), b"7")])
            (message,) = topics.receive(1, 20.0)
            assert message.body == b"7"
            assert topics.depth("t") == 0


def test_a_message_over_the_limit_is_too_large(server: NSQD) -> None:
    with NSQTopics.open(server.url) as topics:
        with pytest.raises(TooLarge, match="max-msg-size"):
            topics.publish("large", [Parcel(new_id(), b"x" * 2**21)])
        topics.publish("large", [Parcel(new_id(), b"x" * 1000)])
        until(lambda: topics.depth("large") == 1, "the small one is there")
