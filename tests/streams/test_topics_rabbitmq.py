"""Topics on RabbitMQ, against the real server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from oche.testing.servers import Server
from oche.testing.streams_suite import Rig, StreamsSuite

pytest.importorskip("pika")
import pika

from oche.streams.rabbitmq import RabbitMQTopics


class TestTopicsOnRabbitMQ(StreamsSuite):
    @pytest.fixture
    def rig(self, shared_server: Callable[[str], Server | None]) -> Rig:
        server = shared_server("rabbitmq")
        assert server is not None

        class BriefRabbitMQTopics(RabbitMQTopics):
            lease = 1.0

        def foreign(topic: str, body: bytes) -> None:
            with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
                connection.channel().basic_publish(f"stream;{topic}", "", body)

        return Rig(open=lambda: BriefRabbitMQTopics.open(server.url), foreign=foreign)
