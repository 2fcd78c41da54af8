"""The promise on the first page: the same count of darts, whoever is killed while they are thrown."""

from __future__ import annotations

import contextlib
import random
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

import oche
from farms import Farm, until

#: Hits of seed 0 in a billion darts.
HITS = 785_399_355


@pytest.mark.timeout(100)
def test_children_killed_amid_the_darts_change_no_digit(farm: Farm, chance: random.Random) -> None:
    kills = 0
    with farm.connect() as cluster, ThreadPoolExecutor(1) as pool:
        assert cluster.submit(abs, -1).result(30) == 1
        thrown = pool.submit(oche.pi, 10**9, cluster=cluster)
        while not thrown.done() and kills < 4:
            crew = until(lambda: farm.children() or thrown.done(), "there is somebody to kill")
            if crew is True:
                break
            with contextlib.suppress(psutil.NoSuchProcess):
                chance.choice(crew).kill()
                kills += 1
            with contextlib.suppress(TimeoutError):
                thrown.result(chance.uniform(0.2, 0.8))
        assert thrown.result(60).inside == HITS
    assert kills > 0
