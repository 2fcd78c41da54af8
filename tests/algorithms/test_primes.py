"""Primes of a range: the same on every executor, however it is cut."""

from __future__ import annotations

import subprocess
import sys

import flint
import numpy as np
import pytest
import sympy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oche.algorithms import primes as module
from oche.algorithms.primes import MOST, count_in, count_primes, primes
from oche.errors import ConfigError
from oche.kernels.sieve import primes_plain

CLUSTERS = ["here", "threads", "processes", "local", "sqlite"]


def test_known_counts(cluster):
    assert count_primes(0, 10**6, cluster=cluster) == 78_498
    assert count_primes(0, 10**9, cluster=cluster) == 50_847_534
    assert count_primes(10**13, 10**13 + 4 * 10**8, cluster=cluster) == 13_364_132  # of primesieve 11
    assert count_primes(7, 7, cluster=cluster) == 0
    assert count_primes(7, 8, cluster=cluster) == 1


def test_a_list_over_several_pieces(cluster):
    lo, hi = 10**8 + 1, 4 * 10**8
    found = primes(lo, hi, cluster=cluster)
    assert found.dtype == np.int64
    assert found.size == count_primes(lo, hi) == 15_574_871
    assert found[:5].tolist() == list(sympy.primerange(lo, lo + 200))[:5]
    assert found[-1] == sympy.prevprime(hi)
    assert np.all(np.diff(found) >= 2)
    for piece in range(lo // 30, hi // 30, module.PIECE):  # nothing is lost or doubled where pieces meet
        near = found[(found >= 30 * piece - 300) & (found < 30 * piece + 300)].tolist()
        assert near == list(sympy.primerange(max(lo, 30 * piece - 300), 30 * piece + 300))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**5), st.integers(0, 2000))
@example(0, 0)
@example(0, 2)
@example(2, 4)
@example(31, 0)
def test_small_ranges_are_those_of_the_twin(lo, width):
    found = primes(lo, lo + width)
    assert found.tolist() == primes_plain(lo, lo + width)
    assert count_primes(lo, lo + width) == found.size


@settings(deadline=None, max_examples=30)
@given(st.sampled_from([2**32, 10**10, 10**12, 2**44]), st.integers(-3000, 3000), st.integers(0, 3000))
def test_windows_far_out(near, shift, width):
    lo = near + shift
    expected = [n for n in range(lo, lo + width) if flint.fmpz(n).is_prime()]
    assert primes(lo, lo + width).tolist() == expected
    assert count_primes(lo, lo + width) == len(expected)


def test_the_cut_changes_nothing(monkeypatch):
    expected, listed = count_primes(5, 3 * 10**6), primes(5, 3 * 10**6)
    for piece in (1000, 17_017, 99_999):
        monkeypatch.setattr(module, "PIECE", piece)
        assert count_primes(5, 3 * 10**6) == expected
        assert np.array_equal(primes(5, 3 * 10**6), listed)
    monkeypatch.setattr(module, "PIECES", 3)
    assert count_primes(5, 3 * 10**6) == expected


def test_pieces_stay_within_bounds():
    assert [module._piece(hi) for hi in (0, 10**10, 10**12, 10**14, MOST)] == [
        2**22, 2**22, 2**22, 2 * 10**7, 2**25
    ]  # fmt: skip


def test_the_task_counts():
    assert count_in(5, 10**5) == count_primes(5, 10**5)


@pytest.mark.parametrize("ask", [count_primes, primes])
@pytest.mark.parametrize(("lo", "hi"), [(-1, 5), (5, 4), (0, MOST + 1), (-5, -4)])
def test_other_ranges_are_refused(ask, lo, hi):
    with pytest.raises(ConfigError, match=r"take 0 <= lo <= hi <= 2\*\*63"):
        ask(lo, hi)


@pytest.mark.parametrize("ask", [count_primes, primes])
@pytest.mark.parametrize(("lo", "hi"), [(0, 1e9), ("0", 5), (None, 5), (0, None)])
def test_what_is_no_integer_is_refused(ask, lo, hi):
    with pytest.raises(ConfigError, match="is no integer"):
        ask(lo, hi)


def test_a_list_that_does_not_fit_is_refused_and_the_way_out_named():
    with pytest.raises(ConfigError, match=r"about 36,191,206,825 primes, 270 GiB; count them with count_primes"):
        primes(0, 10**12)


def test_importing_it_loads_no_compiler():
    code = "import sys, oche.algorithms.primes; print('numba' in sys.modules, 'oche.kernels.sieve' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "False"]
