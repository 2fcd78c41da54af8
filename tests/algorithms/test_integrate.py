"""Integrals: the same bits whoever computes them, right within their own error, and clear about what is wrong."""

from __future__ import annotations

import functools
import math
import multiprocessing
import statistics
import subprocess
import sys
import time
from concurrent.futures import CancelledError, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import integrands
import oche
from oche.algorithms import integrate as module
from oche.algorithms.integrate import Integral, integrate, points
from oche.algorithms.moments import converge
from oche.errors import ConfigError
from oche.wire.exceptions import RemoteTraceback

UNIT = (0.0, 1.0)
N = 300_007


@pytest.fixture(scope="module")
def local():
    with oche.connect("local:", max_workers=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def pools(local):
    """Executors by name."""
    with (
        ThreadPoolExecutor(3) as threads,
        ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as spawned,
    ):
        yield {"here": None, "threads": threads, "processes": spawned, "local": local}


def bits(result: Integral) -> tuple[object, ...]:
    """All that must be the same."""
    told = result.convergence
    return (
        *(result.n, result.seed, result.volume, result.value, result.standard_error, result.interval),
        *(told.points.tobytes(), told.estimate.tobytes(), told.standard_error.tobytes()),
    )


@pytest.mark.parametrize("executor", ["here", "threads", "processes", "local"])
@pytest.mark.parametrize("calls", [1, 2, 3, 1000])
def test_every_executor_and_every_cut_gives_the_same_bits(pools, executor, calls, monkeypatch):
    monkeypatch.setattr(module, "CALLS", calls)
    got = integrate(integrands.wave, [UNIT, (-1, 2)], N, seed=5, cluster=pools[executor])
    assert bits(got) == bits(_alone())
    assert got.seconds > 0


@functools.cache
def _alone():
    return integrate(integrands.wave, [UNIT, (-1, 2)], N, seed=5)


@pytest.mark.parametrize("slots", [1, 3])
def test_any_number_of_workers_gives_the_same_bits(slots):
    with oche.connect("local:", max_workers=slots) as cluster:
        assert bits(integrate(integrands.wave, [UNIT, (-1, 2)], N, seed=5, cluster=cluster)) == bits(_alone())


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40_000), st.sets(st.integers(0, 200), max_size=8), st.integers(1, 3))
def test_any_cut_in_order_gives_the_same_sums(n, cuts, d):
    box = [UNIT] * d
    blocks = -(-n // module._block(n, d))
    work = functools.partial(module._sums, f=integrands.wave, box=box, n=n, seed=1)
    ends = sorted({0, blocks, *(cut for cut in cuts if cut < blocks)})
    whole = work(0, blocks)
    assert functools.reduce(module._add, [work(a, b) for a, b in pairwise(ends)]) == whole
    told = converge(whole[0], n, 1.0)
    assert told.estimate[-1] == integrate(integrands.wave, box, n, seed=1).value


@pytest.mark.parametrize("n", [1, 2, 100, 10_000])
def test_it_is_the_mean_of_f_at_its_points(n):
    box = [(-1.0, 1.0), (0.0, 3.0), (2.0, 2.5)]
    got = integrate(integrands.wave, box, n, seed=2**63)
    values = integrands.wave(points(0, n, box, 2**63)).tolist()
    assert (got.n, got.seed, got.volume) == (n, 2**63, 3.0)
    assert got.value == pytest.approx(3 * math.fsum(values) / n, rel=1e-14)
    if n > 1:
        assert got.standard_error == pytest.approx(3 * statistics.stdev(values) / math.sqrt(n), rel=1e-12)


def test_blocks_follow_from_the_size_of_the_problem_alone():
    for n in (1, 63, 64, 1000, 10**6, 10**9, 2**63 - 1):
        for d in (1, 2, 3, 10, 100, 10**6):
            size = module._block(n, d)
            assert size.bit_count() == 1
            assert size <= max(1, module.POINTS)
            assert size == 1 or (size * d <= module.CELLS and n // size >= module.BLOCKS)


@pytest.mark.parametrize(
    ("f", "box", "truth"),
    [
        (integrands.cubic, [UNIT], 1.0),
        (integrands.squares, [UNIT], 1 / 3),
        (integrands.squares, [UNIT] * 2, 2 / 3),
        (integrands.squares, [UNIT] * 10, 10 / 3),
        (integrands.squares, [(-1, 2), (0, 4)], 4 * 3 + 3 * 64 / 3),
        (integrands.ball, [(-1, 1)] * 2, math.pi),
        (integrands.ball, [(-1, 1)] * 3, 4 / 3 * math.pi),
        (integrands.wave, [(0, 1)], (math.e * (math.sin(1) + math.cos(1)) - 1) / 2),
    ],
)
def test_known_integrals(f, box, truth):
    for seed in range(3):
        got = integrate(f, box, 200_000, seed=seed)
        assert abs(got.value - truth) < 5 * got.standard_error
        assert got.standard_error < 0.01 * truth


def test_the_interval_holds_the_truth_for_95_of_100_seeds(monkeypatch):
    monkeypatch.setattr(module, "BLOCKS", 1)  # it is quicker
    results = [integrate(integrands.squares, [UNIT] * 2, 2000, seed=seed) for seed in range(400)]
    held = sum(low <= 2 / 3 <= high for low, high in (result.interval for result in results))
    assert 362 <= held <= 397, held  # 380 and four standard deviations
    spread = statistics.stdev(result.value for result in results)
    assert spread == pytest.approx(statistics.fmean(result.standard_error for result in results), rel=0.15)


def test_convergence_tells_of_every_doubling():
    got = integrate(integrands.ball, [(-1, 1)] * 2, N)
    told = got.convergence
    assert told.points.tolist() == [*(2**k for k in range(19)), N]
    assert (told.estimate[-1], told.standard_error[-1]) == (got.value, got.standard_error)
    inside = integrands.ball(points(0, N, [(-1, 1)] * 2))
    assert told.estimate.tolist() == [float(4 * inside[:n].sum() / n) for n in told.points]
    assert told.standard_error[0] == math.inf
    assert np.isfinite(told.standard_error[1:]).all()


def test_a_constant_is_exact():
    got = integrate(lambda x: np.full(len(x), 0.125), [(0, 2)], N)
    assert (got.value, got.standard_error) == (0.25, 0.0)
    got = integrate(lambda x: np.full(len(x), 0.1), [(0, 2)], N)
    assert got.value == pytest.approx(0.2, rel=1e-14)
    assert got.standard_error < 1e-16
    assert integrate(lambda x: np.zeros(len(x), bool), [UNIT], 1000).value == 0.0
    assert integrate(lambda x: np.full(len(x), 3), [UNIT], 1000).interval == (3.0, 3.0)


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e200, 1e307])
def test_values_of_any_size_keep_their_error(scale):
    got, plain = (integrate(lambda x, k=k: k * x[:, 0], [UNIT], 10_000) for k in (scale, 1.0))
    assert got.value == pytest.approx(scale * plain.value, rel=1e-12)
    assert got.standard_error == pytest.approx(scale * plain.standard_error, rel=1e-9)


def test_one_point_says_nothing_about_its_error():
    got = integrate(integrands.cubic, [UNIT], 1)
    assert (got.standard_error, got.interval) == (math.inf, (-math.inf, math.inf))


def test_a_closure_travels_to_a_cluster(local):
    weight = np.array([1.0, 2.0])
    got = integrate(lambda x: x @ weight, [UNIT] * 2, 10_000, cluster=local)
    assert got.value == pytest.approx(1.5, abs=5 * got.standard_error)


def test_f_may_work_in_place():
    def spoil(x):
        x *= 2
        return x[:, 0]

    assert integrate(spoil, [UNIT], 50_000).value == 2 * integrate(lambda x: x[:, 0], [UNIT], 50_000).value


def test_points_are_those_that_f_sees():
    seen = []
    integrate(lambda x: seen.append(x.copy()) or x[:, 0], [(-2, 3)] * 3, 1000, seed=8)
    assert np.concatenate(seen).tolist() == points(0, 1000, [(-2, 3)] * 3, 8).tolist()


@pytest.mark.parametrize("n", [1000, 1e3, "1e3", "1_000", np.int64(1000), np.float64(1000)])
def test_ways_to_say_a_thousand(n):
    assert integrate(integrands.cubic, [UNIT], n).n == 1000


@pytest.mark.parametrize("n", [0, -1, 0.5, "1.5", 2**63, "1e999999999", math.nan, math.inf, "many", "", None, 1j, [5]])
def test_other_numbers_of_points_are_refused(n):
    with pytest.raises(ConfigError, match=r"n = .*take a whole number"):
        integrate(integrands.cubic, [UNIT], n)


@pytest.mark.parametrize("seed", [-1, 2**64, 0.5, "a", None])
def test_a_wrong_seed_is_refused(seed):
    with pytest.raises(ConfigError, match=r"seed .*take a whole number from 0 to 2\*\*64 - 1"):
        integrate(integrands.cubic, [UNIT], 10, seed=seed)
    with pytest.raises(ConfigError, match="seed"):
        points(0, 1, [UNIT], seed)


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        ([], "at least one dimension"),
        ([(0, 1), (1, 1)], r"dimension 1 goes from 1\.0 to 1\.0; take finite"),
        ([(1, 0)], r"dimension 0 goes from 1\.0 to 0\.0"),
        ([(0, math.inf)], "change of variable"),
        ([(math.nan, 1)], "take finite bounds"),
        ([(0, 1, 2)], "a pair a dimension"),
        ((0, 1), "a pair a dimension"),
        ([("a", "b")], "a pair a dimension"),
        ([(0, 10**400)], "a pair a dimension"),
        ([(0, 1j)], "a pair a dimension"),
        (None, "a pair a dimension"),
        ([(-1.7e308, 1.7e308)], "volume inf; scale the coordinates"),
        ([(0, 1e-200)] * 2, r"2 dimensions has volume 0\.0; scale"),
    ],
)
def test_bounds_that_cannot_be_right_are_refused(bounds, says):
    with pytest.raises(ConfigError, match=says):
        integrate(integrands.cubic, bounds, 10)
    with pytest.raises(ConfigError, match=says):
        points(0, 1, bounds)


def test_points_that_are_not_there_are_refused():
    with pytest.raises(ConfigError, match="take 0 <= lo <= hi"):
        points(5, 4, [UNIT])


def test_what_is_not_a_function_is_refused():
    with pytest.raises(ConfigError, match="not callable"):
        integrate(3.0, [UNIT], 10)


@pytest.mark.parametrize("executor", ["here", "processes", "local"])
def test_the_first_bad_point_is_named_whoever_met_it(pools, executor):
    x = points(0, N, [UNIT], 3)[:, 0]
    bad = np.flatnonzero(x < integrands.GAP)
    blocks = np.unique(bad // module._block(N, 1))
    assert blocks[0] > 0
    assert len(blocks) > 1
    first = int(bad[0])
    with pytest.raises(ConfigError) as caught:
        integrate(integrands.gap, [UNIT], N, seed=3, cluster=pools[executor])
    assert (
        str(caught.value)
        == f"f is nan at point {first} of seed 3, ({float(x[first])!r}); change f there, or the bounds"
    )


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_infinite_values_are_refused(value):
    with pytest.raises(ConfigError, match=f"f is {value} at point 0 of seed 0, "):
        integrate(lambda x: np.full(len(x), value), [UNIT] * 2, 1000)


@pytest.mark.parametrize(
    ("f", "says"),
    [
        (integrands.column, r"shape \(512, 1\) for 512 points; return one number a point: \(512,\)"),
        (integrands.turning, "complex numbers, which have no interval"),
        (integrands.words, "not real numbers"),
    ],
)
def test_answers_that_are_no_real_numbers_are_refused_at_once(local, f, says):
    for cluster in (None, local):
        began = time.monotonic()
        with pytest.raises(ConfigError, match=says):
            integrate(f, [UNIT], 50_000, cluster=cluster)
        assert time.monotonic() - began < 20  # and not after twenty tries


@pytest.mark.parametrize("value", [1.0, None, [1.0, 2.0]])
def test_a_single_answer_is_refused(value):
    with pytest.raises(ConfigError, match="f returned"):
        integrate(lambda x: value, [UNIT], 1000)


@pytest.mark.parametrize("executor", ["here", "processes", "local"])
def test_what_f_raises_comes_back_as_itself_from_the_first_block_that_failed(pools, executor):
    size = module._block(N, 1)
    low = points(0, N, [UNIT], 3)[:, 0]
    first = next(float(low[a : a + size].min()) for a in range(0, N, size) if low[a : a + size].min() < 1e-5)
    with pytest.raises(LookupError) as caught:
        integrate(integrands.late_error, [UNIT], N, seed=3, cluster=pools[executor])
    assert caught.value.args == ("a hole at", first)
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "late_error" in str(caught.value.__cause__)


def test_an_integral_too_large_for_a_float_is_refused():
    with pytest.raises(ConfigError, match=r"above 1\.8e308"):
        integrate(lambda x: np.full(len(x), 1e300), [(0, 1e10)], 100)


def test_a_job_that_is_called_off_stops_before_its_next_block(monkeypatch):
    monkeypatch.setattr(module, "stop_byte", lambda: memoryview(b"\1"))
    with pytest.raises(CancelledError, match=r"before block 3 of 3 \.\. 9"):
        module._sums(3, 9, f=integrands.cubic, box=[UNIT], n=10**6, seed=0)


def test_it_reads_well():
    told = integrate(integrands.cubic, [UNIT], 2).convergence
    result = Integral(n=10**6, seed=7, volume=1.0, value=0.25, standard_error=0.012, seconds=2.0, convergence=told)
    assert str(result) == (
        "integral = 0.25, standard error 1.2e-02\n"
        "95 % interval 0.2264804322 to 0.2735195678\n"
        "1,000,000 points (seed 7)\n"
        "2.00 s, 0.5 million points/s"
    )
    assert "convergence" not in repr(result)


def test_importing_it_loads_no_compiler():
    code = (
        "import sys, oche.algorithms.integrate; print('numba' in sys.modules, 'oche.kernels.uniforms' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "False"]
