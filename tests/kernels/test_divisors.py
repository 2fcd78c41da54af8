"""Trial division by floats against plain Python, above all where a float might round wrongly."""

from __future__ import annotations

import math
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest
import sympy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oche.errors import ConfigError
from oche.kernels import divisors as module
from oche.kernels.divisors import BLOCK, FLOATS, SLICE, find, find_plain

TOP = 2**64


def coprime(n: int) -> int:
    """The next number from n on without a factor 2, 3, 5 or 7."""
    while math.gcd(n, 210) > 1:
        n += 1
    return n


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 10**7).map(coprime), st.data())
def test_kernel_finds_what_the_twin_finds(n, data):
    root = math.isqrt(n)
    lo = data.draw(st.integers(2, max(2, root)))
    hi = data.draw(st.integers(lo, max(lo, root + 1)))
    if hi <= root + 1:
        assert find(n, lo, hi) == find_plain(n, lo, hi)


@st.composite
def products(draw):
    """n = d q < 2**64, d <= q, both coprime to 210, where floats are at work: d of any size, q often the largest."""
    d = coprime(
        min(draw(st.one_of(st.integers(FLOATS, 2**32 - 100), st.integers(14, 31).map(lambda k: 2**k))), 2**32 - 9)
    )
    most = (TOP - 1) // d
    q = draw(st.one_of(st.integers(d, max(d, most)), st.just(most), st.integers(max(d, most - 1000), max(d, most))))
    while math.gcd(q, 210) > 1:
        q -= 1
    return d, max(q, d)


@settings(deadline=None, max_examples=300)
@given(products())
@example((4294967291, 4294967291))
@example((2**32 - 17, 2**32 - 17))
@example((16411, 1124051938127143))
def test_no_divisor_is_missed_by_rounding(pair):
    d, q = pair
    n = d * q
    if n < TOP:
        lo, hi = max(2, d - 1500), min(d + 1500, math.isqrt(n) + 1)
        assert find(n, lo, hi) == find_plain(n, lo, hi)
        assert find(n, d, d + 1) == d


@settings(deadline=None, max_examples=60)
@given(st.integers(50, 64), st.integers(-3 * BLOCK, 3 * BLOCK))
def test_no_divisor_is_missed_where_gliding_begins(bits, shift):
    near = module._glide_from(2**bits - 1) * BLOCK + shift
    d = coprime(near)
    q = (2**bits - 1) // d
    while math.gcd(q, 210) > 1:
        q -= 1
    assert find(d * q, max(2, d - BLOCK), d + 1) == find_plain(d * q, max(2, d - BLOCK), d + 1)


def test_every_candidate_of_a_stretch_is_found_at_the_largest_n():
    """All divisors d of a stretch, each with the largest quotient that fits: both ways to make a quotient."""
    for start in (FLOATS, 10**6, 1.5e8, 1.7e8, 2**32 - 4000):
        for d in map(coprime, range(int(start), int(start) + 2000, 13)):
            q = (TOP - 1) // d
            while math.gcd(q, 210) > 1:
                q -= 1
            if d <= q:
                assert find(d * q, d, d + 1) == d


@pytest.mark.parametrize(
    ("n", "factor"),
    [
        (100109100129100369, 95362951),
        (100109100129101027, 171656941),
        (100109100129100151, None),
        (100109100129162907, None),
        (4294967291**2, 4294967291),
        (2**64 - 59, None),
        (1, None),
    ],
)
def test_whole_searches(n, factor):
    assert find(n, 2, math.isqrt(n) + 1) == factor


@settings(deadline=None, max_examples=25)
@given(st.integers(FLOATS, 10**6), st.integers(2**50, 2**70))
def test_beyond_64_bits_plain_python_finds_the_same(near, other):
    p, q = sympy.nextprime(near), sympy.nextprime(other)
    lo = max(2, p - 3000)
    assert find(p * q, lo, p + 1) == p
    assert find(p * q, lo, p) == find_plain(p * q, lo, p)


class Countdown:
    """A stop byte that is set at its n-th look."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def __getitem__(self, index: int) -> int:
        assert index == 0
        self.left -= 1
        return self.left <= 0


def test_it_looks_at_the_stop_byte_before_each_slice():
    n = 2**64 - 59
    never = Countdown(10**6)
    lo = 5 * 10**8 // BLOCK * BLOCK
    assert find(n, lo, lo + 10 * SLICE * BLOCK, never) is None
    assert 10**6 - never.left == 10
    with pytest.raises(CancelledError, match=f"from {lo + 2 * SLICE * BLOCK} on"):
        find(n, lo, 2**32, Countdown(3))


def test_another_thread_can_stop_plain_python():
    byte, running = memoryview(bytearray(1)), threading.Event()

    class Seen:
        def __getitem__(self, index: int) -> int:
            running.set()
            return byte[index]

    with ThreadPoolExecutor(1) as pool:
        endless = pool.submit(find, 2**127 - 1, 2, 2**63, Seen())
        assert running.wait(30)
        byte[0] = 1
        with pytest.raises(CancelledError):
            endless.result(30)


@pytest.mark.parametrize("n", [0, -1, -7, 2, 9, 25, 49, 210])
def test_an_n_with_smaller_factors_is_refused(n):
    with pytest.raises(ConfigError, match="divide them out"):
        find(n, 2, 2)


@pytest.mark.parametrize(("lo", "hi"), [(1, 5), (5, 4), (2, 12), (0, 0)])
def test_a_range_beyond_the_root_is_refused(lo, hi):
    with pytest.raises(ConfigError, match="take 2 <= lo"):
        find(121 - 18, lo, hi)
