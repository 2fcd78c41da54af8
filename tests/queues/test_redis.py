"""Redis, the real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from oche.errors import QueueFull
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


def test_a_server_without_memory_is_full_and_can_be_emptied() -> None:
    with Redis() as server, RedisQueue.open(server.url) as queue, redis.Redis(port=server.port) as client:
        queue.put("t", b"before")
        client.config_set("maxmemory", 1)
        with pytest.raises(QueueFull, match="no room"):
            queue.put("t", b"x")
        with queue.clone() as other:  # also whoever lost his connection meanwhile
            taken = other.reserve(["t"], 5.0)
            assert taken is not None
            assert taken.body == b"before"
            other.delete(taken)
        client.config_set("maxmemory", 0)
        queue.put("t", b"y")
