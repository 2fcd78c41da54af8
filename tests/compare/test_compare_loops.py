"""The loops of the prime comparison: each finds what trial division finds, and looks as often as it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sympy import primerange

from oche.compare.primes_loops import EVERY, NEAR, counted, local, look_ahead, near, plain, root, shares, two_stage
from oche.sharing.flag_memory import MemoryFlag

PRIMES = list(primerange(NEAR, 2000))
LOOKING = [counted, look_ahead, two_stage, local]


@given(st.integers(0, 10**5).map(lambda i: 2 * i + 1), st.integers(0, 10**5), st.integers(1, 9))
def test_shares_are_all_candidates_once_and_as_equal_as_may_be(lo, length, parts):
    found = shares(lo, lo + length, parts)
    assert [i for first, last in found for i in range(first, last, 2)] == list(range(lo, lo + length, 2))
    sizes = [len(range(first, last, 2)) for first, last in found]
    assert len(found) == parts
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(2, 10**4))
def test_near_is_a_divisor_if_there_is_one_so_small(n):
    divisors = [i for i in range(2, min(NEAR, n)) if n % i == 0]
    assert (near(n) is None) == (not divisors)
    assert near(n) in [None, *divisors]


@pytest.mark.parametrize("loop", [plain, *LOOKING])
@given(
    st.sampled_from(PRIMES), st.sampled_from(PRIMES), st.integers(0, 999).map(lambda i: 2 * i + 1), st.integers(0, 3000)
)
def test_a_loop_finds_the_first_divisor_and_sets_the_flag(loop, p, q, lo, length):
    lo += 2
    with MemoryFlag() as flag:
        wanted = next((i for i in range(lo, lo + length, 2) if (p * q) % i == 0), None)
        divisor, looks = loop({"memory": flag}, p * q, lo, lo + length, "memory")
        assert divisor == wanted
        assert flag.is_set() is (loop is not plain and wanted is not None)
        assert looks <= length // (2 * EVERY) + 1


@pytest.mark.parametrize("loop", LOOKING)
def test_a_loop_looks_every_thousand_candidates_and_stops_at_a_flag(loop):
    n, lo = 1_000_000_007, NEAR
    with MemoryFlag() as flag:
        steps = len(range(lo, root(n), 2))
        divisor, looks = loop({"memory": flag}, n, lo, root(n), "memory")
        assert divisor is None
        assert looks in (steps // EVERY, steps // EVERY + 1)
        flag.set()
        assert loop({"memory": flag}, n, lo, root(n), "memory") == (None, 1)
