"""Exact sums, against fractions added up one by one."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oche.algorithms.moments import Adder, converge, doublings, merge
from oche.errors import ConfigError

EPSILON = Fraction(1, 2**52)
floats = st.floats(allow_nan=False, allow_infinity=False)
many = st.lists(st.one_of(floats, st.floats(-1e3, 1e3), st.sampled_from([0.0, 0.1, 5e-324, -1.7e308])), min_size=1)


def exact(values):
    fractions = [Fraction(value) for value in values]
    return sum(fractions), sum(value * value for value in fractions)


def moments(values):
    """The sum and the sum of squares."""
    adder = Adder()
    assert adder.add(np.array(values, float), 3)
    return adder.sums()[3]


def summed(values):
    """Sums of values whose indices begin at 0."""
    array, adder = np.array(values), Adder()
    for lo, hi in doublings(0, len(values)):
        assert adder.add(array[lo:hi], lo.bit_length())
    return adder.sums()


@settings(deadline=None, max_examples=300)
@given(many)
@example([0.0])
@example([0.1] * 1000)
@example([1e308] * 50)
@example([1e308, -1e308, 1e-308])
@example([5e-324] * 3)
@example([1e16 + 2 * k for k in range(50)])
def test_sums_are_right_within_rounding(values):
    total, squares = moments(np.array(values))
    right, right_squares = exact(values)
    size, n = sum(abs(Fraction(value)) for value in values), len(values)
    assert abs(total - right) <= n * EPSILON * size
    spread, right_spread = squares - total * total / n, right_squares - right * right / n
    assert spread >= 0
    largest = max(abs(Fraction(value)) for value in values)
    assert abs(spread - right_spread) <= 8 * n * EPSILON * (right_spread + n * n * EPSILON * largest**2)


@settings(deadline=None)
@given(st.lists(st.integers(-(2**20), 2**20), min_size=1), st.integers(-1090, 1000))
def test_whole_numbers_of_a_mean_that_is_one_are_exact_in_any_scale(wholes, power):
    wholes = [2 * whole for whole in wholes] + [-2 * whole for whole in wholes]  # mean 0
    values = np.ldexp(np.array(wholes, float), power)
    scaled = [whole for whole, value in zip(wholes, values, strict=True) if value or not whole]
    if len(scaled) == len(wholes) and (np.ldexp(values, -power) == wholes).all():
        right, squares = exact(wholes)
        one = Fraction(2) ** power
        assert moments(values) == (right * one, squares * one * one)


@given(st.integers(0, 2**63), st.integers(0, 2**63))
@example(0, 1)
@example(0, 0)
def test_doublings_are_a_partition_at_powers_of_two(lo, more):
    parts = list(doublings(lo, lo + more))
    assert [a for a, _ in parts] == [lo, *(b for _, b in parts)][: len(parts)]
    assert sum(b - a for a, b in parts) == more
    for a, b in parts:
        assert a.bit_length() == (b - 1).bit_length()
    assert all(b.bit_count() == 1 for _, b in parts[:-1])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), many), max_size=8), st.integers(0, 8), st.randoms())
def test_the_order_of_adding_leaves_no_trace(parts, cut, chance):
    one, other, rest = Adder(), Adder(), Adder()
    for bits, values in parts:
        one.add(np.array(values), bits)
    chance.shuffle(parts)
    for place, (bits, values) in enumerate(parts):
        (other if place < cut else rest).add(np.array(values), bits)
    assert merge(other.sums(), rest.sums()) == merge(rest.sums(), other.sums()) == one.sums()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_not_added(bad):
    for values in ([bad], [1.0, bad], [math.inf, bad], [1e308, 1e308, bad]):
        adder = Adder()
        assert not adder.add(np.array(values), 1)
        assert adder.sums() == {}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=70))
def test_convergence_is_that_of_the_standard_library(values):
    told = converge(summed(values), len(values), 4.0)
    assert told.points.tolist() == [*(2**k for k in range(7) if 2**k < len(values)), len(values)]
    for n, estimate, error in zip(told.points, told.estimate, told.standard_error, strict=True):
        assert estimate == pytest.approx(4 * statistics.fmean(values[:n]), rel=1e-12, abs=1e-9)
        right = 4 * statistics.stdev(values[:n]) / math.sqrt(n) if n > 1 else math.inf
        assert error == pytest.approx(right, rel=1e-9, abs=1e-9)


def test_the_error_is_there_where_its_square_is_no_float():
    for scale in (1e-300, 1e300):
        told = converge(summed([scale, 3 * scale]), 2, 1.0)
        assert told.estimate[-1] == 2 * scale
        assert told.standard_error[-1] == pytest.approx(scale, rel=1e-15)


def test_a_large_mean_costs_no_digits():
    told = converge(summed([1e15 + k % 2 for k in range(64)]), 64, 1.0)
    assert told.standard_error[-1] == math.sqrt(0.25 * 64 / 63 / 64)
    assert told.estimate[-1] == 1e15 + 0.5


@pytest.mark.parametrize("values", [[1e308, 1e308], [-1e308, 1e308]])
def test_what_no_float_can_hold_is_refused(values):
    with pytest.raises(ConfigError, match="scale f"):
        converge(summed(values), 2, 10.0)
