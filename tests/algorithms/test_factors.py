"""Factors: the smallest one, whatever looks for it."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import sympy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oche.algorithms.factors import NEAR, STEP, factor_in, find_factor, prime_factors, smallest_factor
from oche.errors import ConfigError

CLUSTERS = ["here", "processes", "local"]


@pytest.mark.parametrize(
    ("n", "factors"),
    [
        (112272535095295, [5, 109, 206004651551]),
        (100109100129100369, [95362951, 1049769319]),
        (100109100129101027, [171656941, 583192847]),
        (100109100129100151, [100109100129100151]),
        (100109100129162907, [100109100129162907]),
        (4294967291**2, [4294967291, 4294967291]),
        (2**64 - 1, [3, 5, 17, 257, 641, 65537, 6700417]),
        (10007**4 * 12, [2, 2, 3, 10007, 10007, 10007, 10007]),
        (2**100 * (2**89 - 1), [2] * 100 + [2**89 - 1]),
        (1000003 * 1000033 * (2**89 - 1), [1000003, 1000033, 2**89 - 1]),
        (1, []),
    ],
)
def test_known_numbers(cluster, n, factors):
    assert prime_factors(n, cluster=cluster) == factors
    if factors:
        assert smallest_factor(n, cluster=cluster) == factors[0]


def test_the_smallest_comes_out_though_a_larger_one_is_found_sooner(cluster):
    """Many factors, spread over the steps: pieces that hold larger ones are done while lower ones still run."""
    primes = [sympy.nextprime(x) for x in (3 * STEP, 3 * STEP + 100, 40 * STEP)]
    n = math.prod(primes)
    assert find_factor(n, 11, 41 * STEP, cluster=cluster) == primes[0]
    assert find_factor(n, primes[0] + 1, 41 * STEP, cluster=cluster) == primes[1]
    assert find_factor(n, primes[1] + 1, primes[2], cluster=cluster) is None
    assert find_factor(n, primes[1] + 1, primes[2] + 1, cluster=cluster) == primes[2]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([2, 3, 7, 11, 4093, 4099, 5003, 65537, 999983]), max_size=7), st.integers(1, 10**12))
@example([4093, 4099], 1)
def test_any_product(small, rest):
    n = math.prod(small) * rest
    expected = sorted(p for p, times in sympy.factorint(n).items() for _ in range(times))
    if len(expected) < 2 or expected[-2] < 10**9:
        assert prime_factors(n) == expected


@settings(deadline=None, max_examples=40)
@given(st.integers(NEAR, 2**31), st.integers(NEAR, 2**31))
def test_products_of_two_large_primes(a, b):
    p, q = sorted((sympy.nextprime(a), sympy.nextprime(b)))
    assert prime_factors(p * q) == [p, q]


def test_the_task_stays_within_its_steps_and_the_range():
    p, q = sympy.nextprime(5 * STEP), sympy.nextprime(50 * STEP)
    ask = {"n": p * q, "lo": 2, "hi": 10 * STEP}
    assert factor_in(5, 6, **ask) == p
    assert factor_in(4, 5, **ask) is None
    assert factor_in(5, 6, n=p * q, lo=p + 1, hi=10 * STEP) is None
    assert factor_in(5, 6, n=p * q, lo=2, hi=p) is None


@pytest.mark.parametrize("n", [0, -1, -15])
def test_numbers_without_factors_are_refused(n):
    with pytest.raises(ConfigError, match="take 2 or more"):
        smallest_factor(n)
    with pytest.raises(ConfigError, match="take 1 or more"):
        prime_factors(n)


def test_one_has_no_smallest_factor():
    with pytest.raises(ConfigError, match="take 2 or more"):
        smallest_factor(1)


@pytest.mark.parametrize("ask", [smallest_factor, prime_factors, lambda n: find_factor(n, 2, 3)])
@pytest.mark.parametrize("n", [1.5, "7", None])
def test_what_is_no_integer_is_refused(ask, n):
    with pytest.raises(ConfigError, match="is no integer"):
        ask(n)


@pytest.mark.parametrize(("n", "lo", "hi"), [(101, 1, 5), (101, 5, 4), (101, 2, 12)])
def test_a_wrong_range_is_refused(n, lo, hi):
    with pytest.raises(ConfigError, match="take 2 <= lo <= hi <= 11"):
        find_factor(n, lo, hi)


@pytest.mark.parametrize("n", [0, -1, 10, 21, 49])
def test_the_search_refuses_small_factors(n):
    with pytest.raises(ConfigError, match="call prime_factors"):
        find_factor(n, 2, 2)


def test_importing_and_easy_numbers_load_no_compiler():
    ask = "prime_factors(720720 * 10007)"
    code = f"import sys; from oche.algorithms.factors import *; {ask}; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
