"""Topics on queues of jobs pass the suite, against the real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from oche.queues.beanstalkd import BeanstalkdQueue
from oche.queues.memory import MemoryQueue
from oche.queues.opening import open_queue
from oche.queues.seam import Queue
from oche.streams.queued import QueueTopics
from oche.testing.servers import Beanstalkd, Gearmand, missing
from oche.testing.streams_suite import Rig, StreamsSuite


def queue_rig(queue: Queue, brief: float = 1.0) -> Rig:
    """With leases that a test can wait for."""

    class BriefTopics(QueueTopics):
        lease = brief

    def foreign(topic: str, body: bytes) -> None:
        queue.put(f"stream;{topic}", body)

    return Rig(
        open=lambda: BriefTopics(queue.clone()),
        foreign=foreign,
        settled=queue.traits.signal_pace + 0.05,
        leases=queue.traits.leases,
        leases_end_in_silence=not isinstance(queue, BeanstalkdQueue),
    )


class TestTopicsInMemory(StreamsSuite):
    @pytest.fixture
    def rig(self) -> Rig:
        return queue_rig(MemoryQueue())


class TestTopicsOnSQLite(StreamsSuite):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[Rig]:
        with open_queue(f"sqlite:///{tmp_path}/jobs.db") as queue:
            yield queue_rig(queue)


class TestTopicsOnBeanstalkd(StreamsSuite):
    @pytest.fixture
    def rig(self, beanstalkd: Beanstalkd) -> Iterator[Rig]:
        with open_queue(beanstalkd.url) as queue:
            yield queue_rig(queue, 2.0)  # it counts whole seconds, and the last one hardly


class TestTopicsOnGearman(StreamsSuite):
    @pytest.fixture
    def rig(self) -> Iterator[Rig]:
        missing("gearmand")
        with Gearmand() as server, open_queue(server.url) as queue:
            yield queue_rig(queue)
