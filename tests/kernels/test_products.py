"""Products of blocks against plain Python's: exact for integers, within the bound for floats."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from oche.kernels.products import (
    BITS,
    DEPTH,
    DIGIT_DEPTH,
    _digits,
    array_of,
    dot_plain,
    product,
    product_plain,
)

WHOLE = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]
REAL = ["f2", "f4", "f8"]
NUMBERS = [*WHOLE, *REAL, "c8", "c16"]


@st.composite
def factors(draw, dtypes, elements=None):
    m, k, p = (draw(st.integers(0, 7)) for _ in range(3))
    pair = []
    for shape in ((m, k), (k, p)):
        dtype = np.dtype(draw(st.sampled_from(dtypes)))
        array = draw(npst.arrays(dtype, shape, elements=elements))
        pair.append(draw(st.sampled_from([array, np.asfortranarray(array), array.repeat(2, axis=0)[::2]])))
    return pair


@settings(deadline=None, max_examples=300)
@given(factors(WHOLE))
@example([np.full((3, 5), -(2**63)), np.full((5, 2), -(2**63))])
@example([np.full((3, 5), 2**63 - 1), np.full((5, 2), 2**63 - 1)])
@example([np.full((3, 5), 2**64 - 1, np.uint64), np.full((5, 2), 2**64 - 1, np.uint64)])
@example([np.full((1, 1), 127, np.int8), np.full((1, 1), -128, np.int8)])
def test_integers_are_exact_and_overflow_as_numpys(pair):
    a, b = pair
    if np.result_type(a, b).kind == "f":  # uint64 and a signed one
        return
    got = product(a, b)
    for expected in (product_plain(a, b), a @ b):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


def exactly(a, b):
    """The product, and the product of the magnitudes, in fractions."""

    def times(x, y):
        rows, columns = ([[Fraction(v) for v in line] for line in matrix.tolist()] for matrix in (x, y.T))
        return np.array(
            [[sum(map(Fraction.__mul__, r, c), Fraction()) for c in columns] for r in rows], object
        ).reshape(x.shape[0], y.shape[1])

    return times(a, b), times(np.abs(a), np.abs(b))


@settings(deadline=None, max_examples=200)
@given(factors(["f4", "f8"], st.floats(-1e6, 1e6, width=32)))
def test_floats_are_within_k_eps_of_the_exact_product(pair):
    a, b = pair
    got = product(a, b)
    assert got.dtype == np.result_type(a, b)
    exact, room = exactly(a, b)
    least = Fraction(float(np.finfo(got.dtype).tiny))  # what underflows loses more
    bound = a.shape[1] * (Fraction(float(np.finfo(got.dtype).eps)) * room + least)
    away = np.abs(np.array([Fraction(v) for v in got.ravel().tolist()], object).reshape(got.shape) - exact)
    assert (away <= bound).all()


@settings(deadline=None, max_examples=100)
@given(factors(["c8", "c16"], st.complex_numbers(max_magnitude=1e6, width=64, allow_subnormal=False)))
def test_complex_numbers_are_within_the_bound(pair):
    a, b = pair
    got, expected = product(a, b), product_plain(a.astype(complex), b.astype(complex))
    assert got.dtype == np.result_type(a, b)
    finfo = np.finfo(got.dtype)
    bound = a.shape[1] * (2 * finfo.eps * (np.abs(a).astype(float) @ np.abs(b).astype(float)) + finfo.tiny)
    assert (np.abs(got - expected) <= bound).all()


def test_half_precision_is_summed_in_single():
    a = np.full((1, 4096), 0.1, np.float16)
    got = product(a, a.T)
    assert got.dtype == np.float16
    assert got[0, 0] == np.float16(4096 * float(a[0, 0]) ** 2)
    assert got[0, 0] == (a @ a.T)[0, 0]


@pytest.mark.parametrize(("left", "right"), list(itertools.product(NUMBERS, NUMBERS)))
def test_dtypes_are_numpys(left, right):
    a, b = np.ones((2, 3), left), np.ones((3, 1), right)
    got = product(a, b)
    assert got.dtype == (a @ b).dtype
    np.testing.assert_array_equal(got, a @ b)


def test_foreign_byte_order_and_long_doubles_are_numbers_too():
    a = np.arange(6, dtype=">f8").reshape(2, 3)
    np.testing.assert_array_equal(product(a, a.T), a @ a.T)
    assert product(a, a.T).dtype == np.float64
    a = a.astype(np.longdouble)
    np.testing.assert_array_equal(product(a, a.T), a @ a.T)


@pytest.mark.parametrize("dtype", ["?", "i4", "i8", "u8", "f8"])
@pytest.mark.parametrize("k", [DIGIT_DEPTH - 1, DIGIT_DEPTH, DIGIT_DEPTH + 1, DEPTH, DEPTH + 1, 2 * DEPTH + 1])
def test_long_sums_are_cut_without_a_trace(k, dtype):
    rng = np.random.default_rng(k)
    if dtype == "f8":  # integers, so that the sum is exact
        a, b = (rng.integers(-1000, 1000, shape).astype(float) for shape in ((3, k), (k, 2)))
    elif dtype == "?":
        a, b = (rng.integers(0, k, shape) == 0 for shape in ((3, k), (k, 2)))
    else:
        info = np.iinfo(dtype)
        a, b = (rng.integers(info.min, info.max, shape, dtype, endpoint=True) for shape in ((3, k), (k, 2)))
    np.testing.assert_array_equal(product(a, b), a @ b)


@pytest.mark.parametrize("value", [-(2**63), -(2**43) - 2**21, 2**21 - 1, 2**43 + 2**21 - 1, 2**63 - 1])
def test_the_largest_sums_of_digits_are_exact(value):
    """Each digit as large as digits get, with as many terms as are summed before the next rounding could come."""
    a = np.full((2, DIGIT_DEPTH), value)
    assert (product(a, a.T) == np.array((DIGIT_DEPTH * value**2) % 2**64, np.uint64).astype(np.int64)).all()


@given(st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([-(2**63), 2**63 - 1])), min_size=1))
def test_digits_make_up_the_number(values):
    digits = _digits(np.array(values))
    assert len(digits) <= 3
    for place, value in enumerate(values):
        parts = [int(digit[place]) for digit in digits]
        assert all(-(2 ** (BITS - 1)) <= part < 2 ** (BITS - 1) for part in parts)
        assert (sum(part << (BITS * i) for i, part in enumerate(parts)) - value) % 2**64 == 0


def test_plain_sums_from_the_first_to_the_last():
    assert dot_plain([], []) == 0
    assert dot_plain([1e16, 1.0, -1e16], [1.0, 1.0, 1.0]) == 0.0
    assert dot_plain([2**64, 3], [2**64, 3]) == 2**128 + 9
    assert array_of([[300, -1]], (1, 2), np.dtype("u1")).tolist() == [[44, 255]]


class Countdown:
    """A stop byte that is set at its n-th look."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def __getitem__(self, index: int) -> int:
        assert index == 0
        self.left -= 1
        return self.left <= 0


@pytest.mark.parametrize(("dtype", "depth"), [("f8", DEPTH), ("?", DEPTH), ("i8", DIGIT_DEPTH)])
def test_it_looks_at_the_stop_byte_before_each_panel(dtype, depth):
    a = np.full((1, 3 * depth), 2**62 if dtype == "i8" else 1, dtype)
    never = Countdown(10)
    product(a, a.T, never)
    assert never.left == 7
    with pytest.raises(CancelledError, match=f"before term {depth} of {3 * depth}"):
        product(a, a.T, Countdown(2))


def test_another_thread_can_stop_it():
    byte, running = np.zeros(1, np.uint8), threading.Event()

    class Seen:
        def __getitem__(self, index: int) -> int:
            running.set()
            return int(byte[index])

    long = np.broadcast_to(np.ones(1), (2000, 2**30))  # hours; a view of one number
    with ThreadPoolExecutor(1) as pool:
        endless = pool.submit(product, long, long.T, Seen())
        assert running.wait(30)
        byte[0] = 1
        with pytest.raises(CancelledError):
            endless.result(60)
