"""nsqd killed under load, in memory and on disk, and one of two: the answer is exact, and it comes in time."""

from __future__ import annotations

import contextlib
import functools
import operator
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mischief
import pytest

import errands
import oche
from farms import Farm, until
from oche.cluster.executor import Cluster
from oche.testing.servers import NSQD

#: Hits of seed 0 in a billion darts.
HITS = 785_399_355
BOUND = 60.0
ANSWER = [[i * i for i in range(60)], [i * i for i in range(300)], sum(range(3000))]


def work(cluster: Cluster) -> list[Any]:
    """Submits, a map and a reduction, all under way together."""
    steady = functools.partial(mischief.steady, seconds=0.004)
    futures = [cluster.submit(mischief.steady, i) for i in range(60)]
    squares = cluster.map(steady, range(300))
    total = cluster.reduce(errands.slow_span_sum, range(3000), operator.add)
    return [[future.result(BOUND) for future in futures], list(squares), total]


@pytest.mark.timeout(100)
@pytest.mark.parametrize("options", [[], ["--mem-queue-size", "0"]], ids=["memory", "disk"])
def test_killed_and_started_again_under_load(
    make_farm: Callable[..., Farm], options: list[str], chance: random.Random
) -> None:
    farm = make_farm("nsq")
    server = farm.server
    assert isinstance(server, NSQD)
    server.kill()
    server.options = options
    server.start()
    with farm.connect() as cluster, ThreadPoolExecutor(1) as pool:
        assert cluster.submit(abs, -1).result(BOUND) == 1
        kills = 0
        while kills < 3:
            began = time.monotonic()
            answer = pool.submit(work, cluster)
            while kills < 3 and not answer.done():
                threading.Event().wait(chance.uniform(0.2, 1.0))
                server.kill()
                threading.Event().wait(chance.uniform(0.0, 0.3))
                server.start()
                kills += 1
            assert answer.result(BOUND) == ANSWER
            print(f"{kills} kills, {time.monotonic() - began:.1f} s")


@pytest.mark.timeout(100)
def test_one_of_two_nsqds_and_a_worker_killed_amid_the_darts_change_no_digit(
    make_farm: Callable[..., Farm], tmp_path: Path, chance: random.Random
) -> None:
    farm = make_farm("nsq", slots=1)
    assert farm.server is not None
    with NSQD(tmp_path / "second") as second:
        farm.url += f",127.0.0.1:{second.port}"
        with farm.connect() as cluster, ThreadPoolExecutor(1) as pool:
            assert cluster.submit(abs, -1).result(BOUND) == 1
            thrown = pool.submit(oche.pi, 10**9, cluster=cluster)
            with contextlib.suppress(TimeoutError):
                thrown.result(chance.uniform(0.1, 0.4))
            chance.choice([farm.server, second]).kill()
            with contextlib.suppress(TimeoutError):
                thrown.result(chance.uniform(0.1, 0.4))
            crew = until(lambda: farm.children() or thrown.done(), "there is somebody to kill")
            farm.workers[0].kill()
            for child in crew if crew is not True else []:
                child.kill()
            farm.worker("--slots", "1")
            assert thrown.result(BOUND).inside == HITS
