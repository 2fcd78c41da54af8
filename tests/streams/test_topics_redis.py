"""Topics on Redis, against the real server."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from oche.streams.ids import new_id
from oche.streams.seam import Parcel
from oche.testing.servers import Redis, missing
from oche.testing.streams_suite import Rig, StreamsSuite

pytest.importorskip("redis")
from oche.streams.redis import RedisTopics


@pytest.fixture(scope="module")
def redis_server() -> Iterator[Redis]:
    missing("redis-server", "redis")
    with Redis() as server:
        yield server


class TestTopicsOnRedis(StreamsSuite):
    @pytest.fixture
    def rig(self, redis_server: Redis) -> Rig:
        class BriefRedisTopics(RedisTopics):
            lease = 1.0

        def foreign(topic: str, body: bytes) -> None:
            """As any client says it; without a client, on the wire."""
            words = (b"XADD", f"oche:stream:{topic}".encode(), b"*", b"body", body)
            with socket.create_connection(("127.0.0.1", redis_server.port)) as client:
                client.sendall(b"*5\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))
                assert client.recv(100).startswith(b"$")

        return Rig(open=lambda: BriefRedisTopics.open(redis_server.url), foreign=foreign)


def test_redis_drops_what_is_published_twice_and_keeps_nothing_that_is_done(redis_server: Redis) -> None:
    parcels = [Parcel(new_id(), b"%d" % number) for number in range(5)]
    with RedisTopics.open(redis_server.url) as publisher, publisher.clone() as one, publisher.clone() as two:
        one.subscribe("twice", "a")
        two.subscribe("twice", "b")
        publisher.publish("twice", parcels)
        publisher.publish("twice", parcels[2:])
        for receiver, left in ((one, 5), (two, 0)):
            messages = receiver.receive(100, 5.0)
            assert [message.id for message in messages] == [parcel.id for parcel in parcels]
            receiver.ack(messages)
            assert publisher._wire.command("XLEN", "oche:stream:twice") == left


def test_a_message_of_redis_without_a_body_is_its_fields(redis_server: Redis) -> None:
    with RedisTopics.open(redis_server.url) as topics:
        topics.subscribe("fields", "a")
        topics._wire.command("XADD", "oche:stream:fields", "*", "number", "7")
        (message,) = topics.receive(1, 5.0)
        assert json.loads(message.body) == {"number": "7"}
