"""Lists and trees: the same ranks and depths, whoever is killed while they are computed."""

from __future__ import annotations

import random

import numpy as np
import pytest
from killing import through_kills

from farms import Farm
from forests import shapes
from oche.algorithms.list_ranking import list_rank
from oche.algorithms.trees import depth


@pytest.mark.parametrize("farm", ["local", "sqlite"], indirect=True)
def test_children_killed_amid_the_walks_change_no_rank(
    farm: Farm, chance: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oche.algorithms.list_ranking.GROUP", 2**15)  # many calls, so that there is time to kill
    monkeypatch.setattr("oche.algorithms.trees_subtrees.GROUP", 2**14)
    numbers = np.random.default_rng(chance.randrange(2**32))
    order = numbers.permutation(10**6)
    links = np.full(len(order), -1)
    links[order[:-1]] = order[1:]
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order) - 1, -1, -1)
    parent = shapes(10**6, numbers)["binary"]
    depths = np.floor(np.log2(np.arange(1, 10**6 + 1))).astype(np.int64)
    found = through_kills(
        farm, chance, lambda cluster: (list_rank(links, cluster=cluster), depth(parent, cluster=cluster)),
        pause=(0.05, 0.3),
    )  # fmt: skip
    assert (found[0] == ranks).all()
    assert (found[1] == depths).all()
