"""Lists and trees: the same ranks and depths, whoever is killed while they are computed."""

from __future__ import annotations

import contextlib
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

from farms import Farm, until
from forests import shapes
from oche.algorithms.list_ranking import list_rank
from oche.algorithms.trees import depth


@pytest.mark.timeout(100)
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
    kills = 0
    with farm.connect() as cluster, ThreadPoolExecutor(1) as pool:
        assert cluster.submit(abs, -1).result(30) == 1
        while kills < 4:
            ranked = pool.submit(lambda: (list_rank(links, cluster=cluster), depth(parent, cluster=cluster)))
            while not ranked.done():
                crew = until(lambda: farm.children() or ranked.done(), "there is somebody to kill")  # noqa: B023
                if crew is True:
                    break
                if kills < 4:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        chance.choice(crew).kill()
                        kills += 1
                with contextlib.suppress(TimeoutError):
                    ranked.result(chance.uniform(0.05, 0.3))
            found = ranked.result(60)
            assert (found[0] == ranks).all()
            assert (found[1] == depths).all()
