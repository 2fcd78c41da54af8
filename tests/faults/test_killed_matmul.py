"""A product of matrices has the same bits, whoever is killed while it is computed."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from farms import Farm, until
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


@pytest.mark.timeout(100)
@pytest.mark.parametrize("engine", ["local", "sqlite", "beanstalkd"])
def test_children_killed_amid_the_blocks_change_no_bit(
    make_farm: Callable[..., Farm], chance: random.Random, tmp_path: Path, engine: str,
    factors: tuple[np.ndarray, np.ndarray], expected: bytes,
) -> None:  # fmt: skip
    farm, kills = make_farm(engine), 0
    folder = tmp_path / "values"
    folder.mkdir()
    store = {"store": f"files://{folder}"} if engine == "beanstalkd" else {}
    with farm.connect(**store) as cluster, ThreadPoolExecutor(1) as pool:
        assert cluster.submit(abs, -1).result(30) == 1
        product = pool.submit(matmul, *factors, cluster=cluster)
        while not product.done() and kills < 3:
            crew = until(lambda: farm.children() or product.done(), "there is somebody to kill")
            if crew is True:
                break
            with contextlib.suppress(psutil.NoSuchProcess):
                chance.choice(crew).kill()
                kills += 1
            with contextlib.suppress(TimeoutError):
                product.result(chance.uniform(0.02, 0.3))
        assert product.result(60).tobytes() == expected
    assert kills > 0
