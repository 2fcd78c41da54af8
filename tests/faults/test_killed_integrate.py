"""An integral is the same to the last bit, whoever is killed while it is computed."""

from __future__ import annotations

import contextlib
import random
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

import integrands
from farms import Farm, until
from oche.algorithms.integrate import integrate

BOX = [(-1.0, 1.0)] * 3
N = 2_000_003


@pytest.mark.timeout(100)
def test_children_killed_amid_the_points_change_no_bit(farm: Farm, chance: random.Random) -> None:
    alone = integrate(integrands.ball, BOX, N, seed=6)
    kills = 0
    with farm.connect() as cluster, ThreadPoolExecutor(1) as pool:
        assert cluster.submit(abs, -1).result(30) == 1
        found = pool.submit(integrate, integrands.slow_ball, BOX, N, seed=6, cluster=cluster)
        while not found.done() and kills < 4:
            crew = until(lambda: farm.children() or found.done(), "there is somebody to kill")
            if crew is True:
                break
            with contextlib.suppress(psutil.NoSuchProcess):
                chance.choice(crew).kill()
                kills += 1
            with contextlib.suppress(TimeoutError):
                found.result(chance.uniform(0.2, 0.6))
        result = found.result(60)
    assert kills > 0
    assert (result.value, result.standard_error) == (alone.value, alone.standard_error)
    for one, other in zip(vars(result.convergence).values(), vars(alone.convergence).values(), strict=True):
        assert one.tobytes() == other.tobytes()
