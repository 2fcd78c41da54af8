"""Gearman keeps nothing and knows no leases: the answer is exact all the same, and a stopped worker is no end."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mischief
import psutil
import pytest

import oche
from farms import Farm, until
from oche.queues.opening import open_queue
from oche.queues.seam import Queue
from oche.wire.names import Farm as Names

NAMES = Names()

#: Hits of seed 0 in a hundred million and in a billion darts.
FEW, HITS = 78_539_933, 785_399_355


@pytest.fixture
def farm(make_farm: Callable[..., Farm]) -> Farm:
    return make_farm("gearman", slots=1)


@pytest.mark.timeout(100)
def test_server_and_worker_killed_amid_the_darts_change_no_digit(farm: Farm, chance: random.Random) -> None:
    server = farm.server
    assert server is not None
    with farm.connect() as cluster, ThreadPoolExecutor(1) as pool:
        assert oche.pi(10**8, cluster=cluster).inside == FEW
        thrown = pool.submit(oche.pi, 10**9, cluster=cluster)
        with contextlib.suppress(TimeoutError):
            thrown.result(chance.uniform(0.1, 0.4))
        server.kill()
        threading.Event().wait(chance.uniform(0.0, 0.3))
        server.start()
        crew = until(lambda: farm.children() or thrown.done(), "there is somebody to kill")
        farm.workers[0].kill()
        for child in crew if crew is not True else []:
            child.kill()
        farm.worker("--slots", "1")
        assert thrown.result(60).inside == HITS


def test_a_worker_stopped_for_long_comes_too_late(farm: Farm, tmp_path: Path) -> None:
    """Its server waits for it for ever; the client sends a copy of what takes so much longer than it did before."""
    with farm.connect() as cluster, open_queue(farm.url) as queue:
        assert cluster.submit(mischief.begin_and_end, str(tmp_path / "known"), 3, 0.1).result(30) == 9
        path = tmp_path / "ran"
        future = cluster.submit(mischief.begin_and_end, str(path), 12, 0.1)
        until(path.exists, "the job has begun")
        parent = psutil.Process(farm.workers[0].pid)
        for process in (stopped := [parent, *parent.children(recursive=True)]):
            process.send_signal(signal.SIGSTOP)
        try:
            farm.worker("--slots", "1")
            assert future.result(30) == 144
            assert [line.split()[0] for line in path.read_text().splitlines()] == ["begin", "begin", "end"]
        finally:
            for process in stopped:
                process.send_signal(signal.SIGCONT)
        until(lambda: path.read_text().count("end") == 2, "the late end")
        until(lambda: nothing_left(queue, cluster.run), "the late outcome is taken and dropped")
        got = list(cluster.map(mischief.named_square, range(100), chunksize=1))
        assert [value for value, _ in got] == [x * x for x in range(100)]
        assert len({name for _, name in got}) == 2


def nothing_left(queue: Queue, run: str) -> bool:
    stats = [queue.stats(tube) for tube in (NAMES.work, NAMES.reply(run))]
    return not any(each.ready + each.reserved + each.delayed + each.buried for each in stats)
