"""Pi: one exact count, whoever throws the darts; and honest statistics about it."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import operator
import subprocess
import sys
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from fractions import Fraction

import pytest

from oche.algorithms import pi as module
from oche.algorithms.pi import PiResult, darts_in, pi
from oche.errors import ConfigError
from oche.kernels.darts import count


def result(inside: int, n: int) -> PiResult:
    return PiResult(n=n, seed=0, inside=inside, seconds=1.0)


def test_the_count_is_pinned():
    got = pi(10**6)
    assert (got.n, got.seed, got.inside) == (10**6, 0, 784445)
    assert got.estimate == 3.13778
    assert got.error == 3.13778 - math.pi


def test_the_task_counts_darts():
    assert darts_in(5, 10**5, seed=9) == count(5, 10**5, 9)


class Reducing(ThreadPoolExecutor):
    """Has the cluster's `reduce`, and cuts where nobody would."""

    def reduce(self, fn, span, combine, *, initial=None, progress=False, on_part=None):
        ends = [span.start, *(e for e in (1, 2, 1001, 77_777, 10**6 + 1) if e < span.stop), span.stop]
        value = None
        for end, future in [(b, self.submit(fn, a, b)) for a, b in itertools.pairwise(ends)]:
            value = future.result() if value is None else combine(value, future.result())
            if on_part:
                on_part(end, value)
        return value


@pytest.fixture(params=["here", "threads", "processes", "reduce"])
def cluster(request):
    if request.param == "here":
        yield None
        return
    spawn = multiprocessing.get_context("spawn")
    made = {
        "threads": lambda: ThreadPoolExecutor(2),
        "processes": lambda: ProcessPoolExecutor(2, mp_context=spawn),
        "reduce": lambda: Reducing(2),
    }[request.param]
    with made() as pool:
        yield pool


def test_every_executor_counts_the_same_and_tells_its_progress(cluster, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 123_457)
    monkeypatch.setattr(module, "OUTSTANDING", 3)
    n, seed, seen = 10**6 + 3, 2**64 - 5, []
    got = pi(n, seed=seed, cluster=cluster, on_progress=lambda darts, inside: seen.append((darts, inside)))
    assert got.inside == count(0, n, seed)
    assert len(seen) > 5
    assert seen[-1] == (n, got.inside)
    assert seen == sorted(set(seen))
    assert all(inside == count(0, darts, seed) for darts, inside in seen)


class Loose(ThreadPoolExecutor):
    """Remembers how many of its futures were under way at most, and fails on demand."""

    def __init__(self, fail_at: int) -> None:
        super().__init__(1)
        self.futures: list[Future[int]] = []
        self.most = 0
        self.fail_at = fail_at

    def submit(self, fn, /, *args, **kwargs):
        if len(self.futures) == self.fail_at:
            future = super().submit(operator.truediv, 1, 0)
        else:
            future = super().submit(fn, *args, **kwargs)
        self.futures.append(future)
        self.most = max(self.most, sum(not f.done() for f in self.futures))
        return future


def test_an_endless_run_keeps_a_bounded_number_of_pieces_and_ends_with_the_first_error(monkeypatch):
    monkeypatch.setattr(module, "PIECE", 1000)
    monkeypatch.setattr(module, "OUTSTANDING", 8)
    with Loose(fail_at=100) as pool, pytest.raises(ZeroDivisionError):
        pi(2**63 - 1, cluster=pool)
    assert pool.most <= 8
    assert 100 < len(pool.futures) <= 109
    assert all(future.done() for future in pool.futures)


@pytest.mark.parametrize("n", [1000, 1e3, "1000", "1e3", "1_000", "1000.0", " 1000 "])
def test_ways_to_say_a_thousand(n):
    assert pi(n).n == 1000


def test_numpy_integers_are_integers():
    import numpy

    assert pi(numpy.int64(1000)).inside == pi(numpy.float64(1000)).inside == pi(1000).inside


@pytest.mark.parametrize(
    "n", [0, -1, 0.5, "1.5", 1e30, 2**63, "1e999999999", "1e-999999999", math.nan, math.inf, "many", "", None, 1j, [5]]
)
def test_other_numbers_of_darts_are_refused(n):
    with pytest.raises(ConfigError, match=r"n = .*take a whole number"):
        pi(n)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_wrong_seed_is_refused_before_anything_is_sent(seed):
    with Loose(0) as pool, pytest.raises(ConfigError, match="seed"):
        pi(10, seed=seed, cluster=pool)
    assert pool.futures == []


class Spans(ThreadPoolExecutor):
    """Only asks what it would be given."""

    def reduce(self, fn, span, combine, *, on_part):
        self.given = (fn(span.stop - 1000, span.stop), span, combine)
        return 785398163397448


def test_1e15_is_exact():
    with Spans(1) as pool:
        got = pi(1e15, cluster=pool)
    assert pool.given == (count(10**15 - 1000, 10**15, 0), range(10**15), operator.add)
    assert got.n == 10**15
    got = result(785398163397448, 10**15)
    assert abs(Fraction(got.estimate) - Fraction(4 * 785398163397448, 10**15)) < Fraction(1, 2**52)
    assert got.standard_error == pytest.approx(1.6421 / math.sqrt(1e15), rel=1e-4)
    assert got.contains_pi


def test_interval_is_wilsons():
    got = result(8, 10)  # known: Wilson, 8 of 10, 95 %: 0.4902 to 0.9433
    assert [end / 4 for end in got.interval] == pytest.approx([0.4902, 0.9433], abs=5e-5)
    for inside in (0, 10):
        low, high = result(inside, 10).interval
        assert 0.0 <= low < high <= 4.0
        assert result(inside, 10).standard_error == 0.0
    many = result(785_400_000, 10**9)
    wide = 1.959964 * many.standard_error
    assert many.interval == pytest.approx((many.estimate - wide, many.estimate + wide), abs=1e-8)


def test_the_interval_holds_pi_for_95_of_100_seeds():
    held = sum(pi(10**4, seed=seed).contains_pi for seed in range(1000))
    assert 920 <= held <= 978, held  # four standard deviations


def test_it_reads_well():
    assert str(result(784_445, 10**6)) == (
        "pi = 3.13778, standard error 1.6e-03, error -3.8e-03\n"
        "95 % interval 3.13455 to 3.14100 misses pi, as 1 in 20 does\n"
        "784,445 of 1,000,000 darts inside (seed 0)\n"
        "1.00 s, 1.0 million darts/s"
    )
    assert "holds pi" in str(result(785_398_163, 10**9))
    assert str(result(1, 1)).startswith(
        "pi = 4.00, standard error 0.0e+00, error +8.6e-01\n95 % interval 0.83 to 4.00 holds pi"
    )


def test_importing_pi_loads_no_compiler():
    code = "import sys, oche.algorithms.pi; print('numba' in sys.modules, 'oche.kernels.darts' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "False"]
