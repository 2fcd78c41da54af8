"""The same counts, lists and factors, whoever is killed while they are sought."""

from __future__ import annotations

import random

import numpy as np
import pytest
from killing import through_kills

from farms import Farm
from oche.algorithms.factors import smallest_factor
from oche.algorithms.primes import count_primes, primes


@pytest.mark.parametrize("farm", ["local", "beanstalkd"], indirect=True)
def test_no_prime_is_lost_or_counted_twice(farm: Farm, chance: random.Random) -> None:
    total = through_kills(farm, chance, lambda cluster: count_primes(0, 10**10, cluster=cluster), pause=(0.2, 0.6))
    assert total == 455_052_511


@pytest.mark.parametrize("farm", ["local"], indirect=True)
def test_a_list_is_whole(farm: Farm, chance: random.Random) -> None:
    lo, hi = 10**12, 10**12 + 6 * 10**8
    found = through_kills(farm, chance, lambda cluster: primes(lo, hi, cluster=cluster), pause=(0.02, 0.1))
    assert np.array_equal(found, primes(lo, hi))


@pytest.mark.parametrize("farm", ["local"], indirect=True)
def test_the_smallest_factor_is_found(farm: Farm, chance: random.Random) -> None:
    """Beyond 64 bits, where plain Python takes seconds for it."""
    p, q = 99_999_989, 368_934_922_061
    assert p * q > 2**64
    found = through_kills(farm, chance, lambda cluster: smallest_factor(p * q, cluster=cluster), pause=(0.2, 0.6))
    assert found == p
