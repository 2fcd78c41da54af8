"""NSQ, the real one: the promises of every queue."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from oche.queues.seam import Queue
from oche.testing.queue_rig import Rig, until
from oche.testing.queue_suite import QueueSuite
from oche.testing.servers import NSQD, missing

pytest.importorskip("nsq")

from oche.queues.nsq import NSQQueue

#: nsqd looks at a channel for the first time, to see times that have come, when it is up to so many seconds old.
FIRST_LOOK = 5.0


def crash(queue: Queue) -> None:
    """Ends its connections as the death of its process would, and waits until nsqd has given back what they held."""
    assert isinstance(queue, NSQQueue)
    held = {hold.tube for hold in queue._holds._held.values()}
    with queue.clone() as watcher:
        before = {tube: watcher.stats(tube).reserved for tube in held}
        for node in queue._talk.nodes:
            for line in (node.post, *node.lines.values(), *queue._holds._watch.parting):
                with suppress(OSError):
                    line.socket.shutdown(socket.SHUT_RDWR)
        until(lambda: all(watcher.stats(tube).reserved < before[tube] for tube in held), "nsqd gave back")


def rig_of(server: NSQD) -> Rig:
    def restart() -> None:
        server.kill()
        server.start()

    return Rig(
        open=lambda: NSQQueue.open(server.url),
        restart=restart,
        crash=crash,
        url=server.url,
        shortest_lease=0.2,
        plain_lines=True,
        keeps_places=False,
        kicks_delayed=False,
    )


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NSQD]:
    """With topics that nsqd has looked at before."""
    missing("nsqd", "nsq")
    # In one look nsqd asks only so many of its channels what is due, 20 if it is not told otherwise.
    with NSQD(tmp_path_factory.mktemp("known"), options=["--queue-scan-selection-count", "200"]) as server:
        for number, kind in itertools.product(range(60), ("", ".work")):
            server.ask(f"/topic/create?topic=suite.{number}{kind}", b"")
            server.ask(f"/channel/create?topic=suite.{number}{kind}&channel=oche", b"")
        time.sleep(FIRST_LOOK + 0.2)
        yield server


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NSQD]:
    missing("nsqd", "nsq")
    with NSQD(tmp_path_factory.mktemp("disk"), options=["--mem-queue-size", "0"]) as server:
        yield server


class TestNSQQueue(QueueSuite):
    """On tubes that nsqd has looked at before: on a new one, it may be `FIRST_LOOK` late."""

    examples = 6

    @pytest.fixture
    def rig(self, known: NSQD, request: pytest.FixtureRequest) -> Rig:
        rig = rig_of(known)
        # A death takes seconds until it is seen: the many that Hypothesis wants are orderly ends.
        return replace(rig, crash=lambda queue: queue.close()) if "any_sequence" in request.node.name else rig

    _numbers = itertools.count()

    @pytest.fixture
    def tube(self) -> str:
        return f"suite.{next(self._numbers)}"


class TestNSQQueueOnDisk(QueueSuite):
    """`--mem-queue-size 0`: everything goes by the disk. What has to do with time does not change: it is left out.

    nsqd keeps a delay in memory only: it hands such a message to the routine that fills the channel, and where that is
    busy at this moment, writes it to disk without the delay. So the job is ready, until the driver sees its `due`.
    """

    examples = 6

    @pytest.fixture
    def rig(self, on_disk: NSQD, request: pytest.FixtureRequest) -> Rig:
        left_out = ("killed", "delay", "crash", "attempts_count", "is_touched", "who_reserves")
        if any(word in request.node.name for word in left_out):
            pytest.skip("the other class has it")
        return replace(rig_of(on_disk), crash=lambda queue: queue.close(), keeps_delays=False)
