"""Redis, the real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from oche.queues.seam import Queue
from oche.testing.queue_rig import Rig
from oche.testing.queue_suite import QueueSuite
from oche.testing.servers import Redis, missing

pytest.importorskip("redis")
import redis

from oche.queues.redis import RedisQueue


@pytest.fixture(autouse=True)
def _installed() -> None:
    missing("redis-server", "redis")


def rig_of(server: Redis) -> Rig:
    def restart() -> None:
        server.kill()
        server.start()

    def crash(queue: Queue) -> None:
        assert isinstance(queue, RedisQueue)
        with redis.Redis(port=server.port) as client:
            client.client_kill_filter(_id=queue._me.partition(".")[2])

    return Rig(
        open=lambda: RedisQueue.open(server.url), restart=restart, crash=crash, url=server.url, shortest_lease=0.2
    )


class TestRedisQueue(QueueSuite):
    @pytest.fixture
    def rig(self) -> Iterator[Rig]:
        with Redis() as server:
            yield rig_of(server)


class TestRedisQueueWithAppendOnlyFile(QueueSuite):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[Rig]:
        with Redis(tmp_path / "data") as server:
            yield rig_of(server)
