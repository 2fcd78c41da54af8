"""An integral is the same to the last bit, whoever is killed while it is computed."""

from __future__ import annotations

import random
from functools import partial

import pytest
from killing import through_kills

import integrands
from farms import Farm
from oche.algorithms.integrate import integrate

BOX = [(-1.0, 1.0)] * 3
N = 2_000_003


@pytest.mark.parametrize("farm", ["local", "beanstalkd", "rabbitmq"], indirect=True)
def test_children_killed_amid_the_points_change_no_bit(farm: Farm, chance: random.Random) -> None:
    alone = integrate(integrands.ball, BOX, N, seed=6)
    slowly = partial(integrate, integrands.slow_ball, BOX, N, seed=6)
    result = through_kills(farm, chance, lambda cluster: slowly(cluster=cluster), pause=(0.2, 0.6))
    assert (result.value, result.standard_error) == (alone.value, alone.standard_error)
    for one, other in zip(vars(result.convergence).values(), vars(alone.convergence).values(), strict=True):
        assert one.tobytes() == other.tobytes()
