"""Scans and word counts through kills: the same integers, the same words."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from farms import Farm, until
from folding import AFFINE, affine, slow_then, then
from oche.algorithms import words
from oche.algorithms.scan import scan
from oche.algorithms.words import word_count


def through_kills(farm: Farm, chance: random.Random, work: Callable[[Any], Any]) -> Any:
    """What `work(cluster)` gives while children are killed at random, one at least and four at most."""
    kills = 0
    with farm.connect() as cluster, ThreadPoolExecutor(1) as pool:
        assert cluster.submit(abs, -1).result(30) == 1
        result = pool.submit(work, cluster)
        while not result.done() and kills < 4:
            crew = until(lambda: farm.children() or result.done(), "there is somebody to kill")
            if crew is True:
                break
            with contextlib.suppress(psutil.NoSuchProcess):
                chance.choice(crew).kill()
                kills += 1
            with contextlib.suppress(TimeoutError):
                result.result(chance.uniform(0.1, 0.3))
        assert kills > 0
        return result.result(60)


@pytest.mark.parametrize("farm", ["sqlite"], indirect=True)
def test_a_scan_through_kills_keeps_every_value_and_its_order(farm: Farm, chance: random.Random) -> None:
    maps = affine(10_000)  # half a second of work for each phase
    found = through_kills(farm, chance, lambda cluster: scan(maps, slow_then, cluster=cluster))
    assert found.tobytes() == np.array(list(itertools.accumulate(maps.tolist(), then)), AFFINE).tobytes()


@pytest.mark.parametrize("farm", ["local"], indirect=True)
def test_words_are_counted_once_through_kills(
    farm: Farm, chance: random.Random, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "PIECE", 2**17)
    text = tmp_path / "text"
    text.write_text(" ".join(f"w{chance.randrange(5000)}" for _ in range(1_000_000)))
    found = through_kills(farm, chance, lambda cluster: word_count([text], cluster=cluster))
    assert found == word_count([text])
    assert found.total() == 1_000_000
