"""Topics on RabbitMQ, against the real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from oche.testing.servers import RabbitMQ, missing
from oche.testing.streams_suite import Rig, StreamsSuite

pytest.importorskip("pika")
import pika

from oche.streams.rabbitmq import RabbitMQTopics


@pytest.fixture(scope="module")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    missing("rabbitmq-server", "pika")
    with RabbitMQ(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server


class TestTopicsOnRabbitMQ(StreamsSuite):
    @pytest.fixture
    def rig(self, rabbitmq_server: RabbitMQ) -> Rig:
        class BriefRabbitMQTopics(RabbitMQTopics):
            lease = 1.0

        def foreign(topic: str, body: bytes) -> None:
            with pika.BlockingConnection(pika.URLParameters(rabbitmq_server.url)) as connection:
                connection.channel().basic_publish(f"stream;{topic}", "", body)

        return Rig(open=lambda: BriefRabbitMQTopics.open(rabbitmq_server.url), foreign=foreign)
