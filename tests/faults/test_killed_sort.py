"""A sorted array is the same, bit by bit, whoever is killed while it is sorted."""

from __future__ import annotations

import random

import numpy as np
import pytest
from killing import through_kills

from farms import Farm
from oche.algorithms.sort import argsort, sort


@pytest.mark.parametrize("farm", ["local", "sqlite"], indirect=True)
def test_children_killed_amid_the_sorting_change_no_bit(farm: Farm, chance: random.Random) -> None:
    keys = np.random.default_rng(3).standard_normal(6 * 10**6)
    keys[::1000] = -0.0
    found = through_kills(
        farm, chance, lambda cluster: [call(keys, cluster=cluster) for call in (sort, argsort)],
        most=6, pause=(0.02, 0.2),
    )  # fmt: skip
    assert found[0].tobytes() == np.sort(keys, kind="stable").tobytes()
    assert found[1].tobytes() == np.argsort(keys, kind="stable").tobytes()
