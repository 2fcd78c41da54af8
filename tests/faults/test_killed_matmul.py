"""A product of matrices has the same bits, whoever is killed while it is computed."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from killing import through_kills

from farms import Farm
from oche.algorithms.linalg import matmul

#: Sixteen jobs, and more work than three kills can outlast.
SIDE = 2048


@pytest.fixture(scope="module")
def factors() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(12)
    return rng.normal(size=(SIDE, SIDE)), rng.normal(size=(SIDE, SIDE))


@pytest.fixture(scope="module")
def expected(factors: tuple[np.ndarray, np.ndarray]) -> bytes:
    return matmul(*factors).tobytes()


@pytest.mark.parametrize("engine", ["local", "sqlite", "beanstalkd"])
def test_children_killed_amid_the_blocks_change_no_bit(
    make_farm: Callable[..., Farm], chance: random.Random, tmp_path: Path, engine: str,
    factors: tuple[np.ndarray, np.ndarray], expected: bytes,
) -> None:  # fmt: skip
    folder = tmp_path / "values"
    folder.mkdir()
    store = {"store": f"files://{folder}"} if engine == "beanstalkd" else {}
    product = through_kills(
        make_farm(engine), chance, lambda cluster: matmul(*factors, cluster=cluster),
        most=3, pause=(0.02, 0.3), **store,
    )  # fmt: skip
    assert product.tobytes() == expected
