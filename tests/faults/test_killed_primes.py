"""The same counts, lists and factors, whoever is killed while they are sought."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psutil
import pytest

from farms import Farm, until
from oche.algorithms.factors import smallest_factor
from oche.algorithms.primes import count_primes, primes


def amid_kills(farm: Farm, chance: random.Random, work: Callable[[Any], Any], *, most: int, pause: float) -> Any:
    """What `work(cluster)` returns while children are killed, up to `most` of them, `pause` seconds apart at most."""
    kills = 0
    with farm.connect() as cluster, ThreadPoolExecutor(1) as pool:
        assert cluster.submit(abs, -1).result(30) == 1
        result = pool.submit(work, cluster)
        while not result.done() and kills < most:
            crew = until(lambda: farm.children() or result.done(), "there is somebody to kill")
            if crew is True:
                break
            with contextlib.suppress(psutil.NoSuchProcess):
                chance.choice(crew).kill()
                kills += 1
            with contextlib.suppress(TimeoutError):
                result.result(chance.uniform(pause / 4, pause))
        value = result.result(60)
    assert kills > 0
    return value


@pytest.mark.timeout(100)
@pytest.mark.parametrize("farm", ["local", "beanstalkd"], indirect=True)
def test_no_prime_is_lost_or_counted_twice(farm: Farm, chance: random.Random) -> None:
    total = amid_kills(farm, chance, lambda cluster: count_primes(0, 10**10, cluster=cluster), most=3, pause=0.6)
    assert total == 455_052_511


@pytest.mark.timeout(100)
@pytest.mark.parametrize("farm", ["local"], indirect=True)
def test_a_list_is_whole(farm: Farm, chance: random.Random) -> None:
    lo, hi = 10**12, 10**12 + 6 * 10**8
    found = amid_kills(farm, chance, lambda cluster: primes(lo, hi, cluster=cluster), most=3, pause=0.1)
    assert np.array_equal(found, primes(lo, hi))


@pytest.mark.timeout(100)
@pytest.mark.parametrize("farm", ["local"], indirect=True)
def test_the_smallest_factor_is_found(farm: Farm, chance: random.Random) -> None:
    """Beyond 64 bits, where plain Python takes seconds for it."""
    p, q = 99_999_989, 368_934_922_061
    assert p * q > 2**64
    found = amid_kills(farm, chance, lambda cluster: smallest_factor(p * q, cluster=cluster), most=3, pause=0.6)
    assert found == p
