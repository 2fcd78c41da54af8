"""Scans and word counts through kills: the same integers, the same words."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import pytest
from killing import through_kills

from farms import Farm
from folding import AFFINE, affine, slow_then, then
from oche.algorithms import words
from oche.algorithms.scan import scan
from oche.algorithms.words import word_count


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
