"""A sorted array is the same, bit by bit, whoever is killed while it is sorted."""

from __future__ import annotations

import contextlib
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

from farms import Farm, until
from oche.algorithms.sort import argsort, sort


@pytest.mark.timeout(100)
@pytest.mark.parametrize("farm", ["local", "sqlite"], indirect=True)
def test_children_killed_amid_the_sorting_change_no_bit(farm: Farm, chance: random.Random) -> None:
    keys = np.random.default_rng(3).standard_normal(6 * 10**6)
    keys[::1000] = -0.0
    kills = 0
    with farm.connect() as cluster, ThreadPoolExecutor(1) as pool:
        assert cluster.submit(abs, -1).result(30) == 1
        for call, wanted in ((sort, np.sort(keys, kind="stable")), (argsort, np.argsort(keys, kind="stable"))):
            running = pool.submit(call, keys, cluster=cluster)
            for _ in range(3):
                with contextlib.suppress(TimeoutError):
                    running.result(chance.uniform(0.02, 0.2))
                crew = until(lambda: farm.children() or running.done(), "there is somebody to kill")  # noqa: B023
                if running.done():
                    break
                with contextlib.suppress(psutil.NoSuchProcess):
                    chance.choice(crew).kill()
                    kills += 1
            assert running.result(60).tobytes() == wanted.tobytes()
    assert kills > 0
