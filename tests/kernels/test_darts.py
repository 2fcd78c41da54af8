"""The compiled darts against their plain twin, wherever ranges begin, end or are cut."""

from __future__ import annotations

import itertools
import math
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import njit

import oche
from oche.errors import ConfigError
from oche.kernels.darts import MOST, SLICE, count, count_plain

EDGES = [0, 2 * SLICE, 2**31, 2**32, 2**33, 3 * 2**33, 2**53, MOST]
seeds = st.integers(0, 2**64 - 1)


@st.composite
def ranges(draw):
    """Short ranges, most of them near or across an edge."""
    near = draw(st.sampled_from(EDGES)) + draw(st.integers(-150, 150))
    lo = min(max(draw(st.one_of(st.just(near), st.integers(0, MOST))), 0), MOST)
    return lo, min(lo + draw(st.integers(0, 200)), MOST)


@settings(deadline=None, max_examples=150)
@given(ranges(), seeds)
@example((0, 0), 0)
@example((7, 7), 1)
@example((7, 8), 1)
@example((2**33 - 51, 2**33 + 51), 2**64 - 1)
@example((2 * SLICE - 51, 2 * SLICE + 51), 2**32)
@example((MOST - 99, MOST), 3)
def test_kernel_counts_what_the_twin_counts(span, seed):
    assert count(*span, seed) == count_plain(*span, seed)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(EDGES), seeds, st.lists(st.integers(0, 6 * SLICE), max_size=5))
def test_any_split_gives_the_same_sum(edge, seed, cuts):
    lo = min(max(edge - 3 * SLICE, 0), MOST - 6 * SLICE) | 1
    ends = sorted({lo, *(min(lo + cut, MOST) for cut in cuts), min(lo + 6 * SLICE, MOST)})
    parts = [count(a, b, seed) for a, b in itertools.pairwise(ends)]
    assert sum(parts) == count(ends[0], ends[-1], seed)


def test_the_far_end_of_a_run_of_1e15_darts():
    end = 10**15
    assert count(end - 301, end, 0) == count_plain(end - 301, end, 0)
    assert count(end - 10**7, end, 0) == count(end - 10**7, end - 3, 0) + count_plain(end - 3, end, 0)


def test_pinned():
    """If these integers change, darts fall elsewhere: say so loudly."""
    assert count(0, 10**4, 0) == count_plain(0, 10**4, 0) == 7845
    assert count(0, 10**6, 0) == 784445  # the twin counts the same, in seven seconds
    assert count(0, 10**8, 0) == 78539933


def test_darts_fall_as_darts_should():
    darts, runs, p = 10**5, 1000, math.pi / 4
    spread = darts * p * (1 - p)

    def chi2(counts: list[int]) -> float:
        return sum((inside - darts * p) ** 2 / spread for inside in counts)

    # 1000 degrees of freedom: mean 1000, standard deviation 44.7
    along = chi2([count(run * darts, (run + 1) * darts, 2024) for run in range(runs)])
    across = chi2([count(0, darts, seed) for seed in range(runs)])
    assert abs(along - runs) < 4 * 44.7, along
    assert abs(across - runs) < 4 * 44.7, across


class Countdown:
    """A stop byte that is set at its n-th look."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def __getitem__(self, index: int) -> int:
        assert index == 0
        self.left -= 1
        return self.left <= 0


def test_it_looks_at_the_stop_byte_before_each_slice():
    never = Countdown(10**6)
    count(1, 10 * 2 * SLICE, 0, never)
    assert 10**6 - never.left == 10
    third = Countdown(3)
    with pytest.raises(CancelledError, match=f"before dart {2 * 2 * SLICE} "):
        count(0, MOST, 0, third)
    assert third.left == 0


@pytest.mark.parametrize("make", [lambda: memoryview(bytearray(1)), lambda: np.zeros(1, np.uint8)])
def test_another_thread_can_stop_it(make):
    byte, running = make(), threading.Event()

    class Seen:
        def __getitem__(self, index: int) -> int:
            running.set()
            return byte[index]

    with ThreadPoolExecutor(1) as pool:
        endless = pool.submit(count, 0, MOST, 0, Seen())  # 200 years
        assert running.wait(30)
        byte[0] = 1
        with pytest.raises(CancelledError):
            endless.result(30)


@pytest.mark.parametrize("counter", [count, count_plain])
@pytest.mark.parametrize(("lo", "hi", "seed"), [(-1, 5, 0), (5, 4, 0), (0, MOST + 1, 0), (0, 1, -1), (0, 1, 2**64)])
def test_what_cannot_be_thrown_is_refused(counter, lo, hi, seed):
    with pytest.raises(ConfigError):
        counter(lo, hi, seed)


def cells_inside(n):
    """Cells of an n x n lattice whose middle is inside the quarter circle: a walk along the circle, in integers."""
    inside, height = 0, n  # of this column's cells
    for i in range(n):
        while height > 0 and i * (i + 1) + (height - 1) * height >= n * n:
            height -= 1
        inside += height
    return inside


@pytest.mark.parametrize("bits", range(15))
def test_bias_of_a_lattice_is_within_the_bound_of_the_docs(bits):
    n = 2**bits
    middles = [(2 * i + 1) ** 2 for i in range(n)]
    if n <= 256:
        assert cells_inside(n) == sum(x + y < 4 * n * n for x in middles for y in middles)
    assert abs(4 * cells_inside(n) / n**2 - math.pi) < 2 / n + 8 / n**1.5


def test_bias_of_our_lattice_is_what_the_docs_say():
    walk = njit("uint64(uint64)")(_cells_inside_64)
    assert [walk(n) for n in range(1, 60)] == [cells_inside(n) for n in range(1, 60)]
    assert walk(2**31) == 3622009729038549664


def _cells_inside_64(n):
    one = np.uint64(1)
    inside, height = np.uint64(0), n
    for i in range(n):
        across = np.uint64(i) * (np.uint64(i) + one)
        while height > 0 and across + (height - one) * height >= n * n:
            height -= one
        inside += height
    return inside


PROBE = """
from oche.kernels import darts
print(darts.__file__, darts._outside_compiled.stats.cache_path, len(darts._outside_compiled.stats.cache_hits))
print(darts.count(0, 10**6, 0))
"""


def probe(package: Path, **settings: str) -> tuple[list[str], str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")}
    env |= {"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1", **settings}
    run = subprocess.run(
        [sys.executable, "-c", PROBE], env=env, capture_output=True, text=True, timeout=100, check=True
    )
    where, inside = run.stdout.splitlines()
    return where.split(), inside


@pytest.fixture
def package(tmp_path):
    """A copy of the package in which no compiled code can be kept."""
    copy = tmp_path / "site" / "oche"
    shutil.copytree(Path(oche.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "kernels" / "__pycache__").write_text("a file, so that not even root can put a cache here")
    return copy


def test_it_works_where_nothing_can_be_written(package):
    where, inside = probe(package, HOME="/dev/null", XDG_CACHE_HOME="/dev/null")
    assert where == [str(package / "kernels" / "darts.py"), "None", "0"]
    assert inside == "784445"


def test_the_second_process_finds_compiled_code(package, tmp_path):
    cache = tmp_path / "cache"
    for expected in ("0", "1"):
        where, inside = probe(package, NUMBA_CACHE_DIR=str(cache))
        assert where[1].startswith(str(cache))
        assert (where[2], inside) == (expected, "784445")
