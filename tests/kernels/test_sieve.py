"""The compiled sieve against its plain twin, other people's primality tests, and known counts."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import flint
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oche.errors import ConfigError
from oche.kernels import sieve as module
from oche.kernels.crossing import BLOCK, RESIDUES
from oche.kernels.sieve import GROUPS, MEDIUM, MOST, SLICE, SMALL, count, numbers, primes_plain, sieve, trim

EDGES = [0, 30, 103 * 103, 30 * 17017, SMALL**2, 30 * BLOCK, 30 * SLICE, 2**32, MEDIUM**2, 10**12]


def listed(lo: int, hi: int) -> list[int]:
    """By the kernel."""
    first = lo // 30
    bits = sieve(first, -(-hi // 30) - first)
    trim(bits, first, lo, hi)
    found = numbers(bits, first, [p for p in (2, 3, 5) if lo <= p < hi])
    assert found.dtype == np.int64
    return found.tolist()


def by_flint(lo: int, hi: int) -> list[int]:
    return [n for n in range(lo, hi) if flint.fmpz(n).is_prime()]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 50_000), st.integers(0, 3000))
@example(0, 0)
@example(0, 1)
@example(0, 3)
@example(5, 0)
@example(7, 1)
@example(29, 2)
@example(30, 30)
@example(0, 4000)
def test_kernel_finds_what_the_twin_finds(lo, width):
    hi = lo + width
    assert listed(lo, hi) == primes_plain(lo, hi)
    assert count(lo, hi) == len(primes_plain(lo, hi))


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(EDGES), st.integers(-1500, 1500), st.integers(0, 2000))
def test_windows_near_every_edge(edge, shift, width):
    lo = max(edge + shift, 0)
    assert listed(lo, lo + width) == by_flint(lo, lo + width)
    assert count(lo, lo + width) == len(by_flint(lo, lo + width))


@pytest.mark.parametrize(("lo", "hi"), [(2**53 - 3000, 2**53 + 3000), (MOST - 6000, MOST)])
def test_far_out(lo, hi):
    assert listed(lo, hi) == by_flint(lo, hi)


def test_squares_and_products_of_base_primes_are_crossed_off():
    for p in (7, 17, 61, 101, 103, 107, 5987, 6007, 65537, 524287, 524309, 10**6 + 3):
        q = next(n for n in itertools.count(p + 1) if flint.fmpz(n).is_prime())
        for n in (p * p, p * q):
            assert count(n, n + 1) == 0
            assert n not in listed(n - 40, n + 40)
        assert count(p, p + 1) == 1


@pytest.mark.parametrize(
    ("lo", "hi", "found"),
    [
        (0, 10**6, 78_498),
        (0, 10**9, 50_847_534),
        (0, 30 * SLICE * 3, 2_842_191),  # of primesieve 11
        (10**13, 10**13 + 4 * 10**8, 13_364_132),  # of primesieve 11
    ],
)
def test_known_counts(lo, hi, found):
    total = count(lo, hi)
    assert total == found
    assert type(total) is int


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(0, 10**8), max_size=4))
def test_any_split_gives_the_same_sum(cuts):
    ends = sorted({0, 10**8, *cuts})
    assert sum(count(a, b) for a, b in itertools.pairwise(ends)) == 5_761_455


@pytest.mark.parametrize(("kept", "segment"), [(2**10, SLICE), (2**26, SLICE), (2**10, 3 * SLICE + 77)])
def test_segments_and_larger_primes_change_nothing(kept, segment, monkeypatch):
    lo, hi = 10**12 - 10**6 + 7, 10**12 + 6 * 10**7
    expected, bits = count(lo, hi), sieve(lo // 30, 10**6)
    monkeypatch.setattr(module, "KEPT", kept)
    monkeypatch.setattr(module, "SEGMENT", segment)
    assert count(lo, hi) == expected
    assert np.array_equal(sieve(lo // 30, 10**6), bits)


def test_patterns_are_of_all_small_primes():
    assert sorted(p for group in GROUPS for p in group) == primes_plain(7, 104)


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=40), st.integers(0, MOST // 30 - 40))
def test_numbers_are_those_of_the_bits(data, first):
    bits = np.frombuffer(data, np.uint8)
    expected = [30 * (first + b) + r for b, byte in enumerate(data) for k, r in enumerate(RESIDUES) if byte >> k & 1]
    assert numbers(bits, first).tolist() == expected
    assert numbers(bits, first, [2, 5]).tolist() == [2, 5, *expected]


class Countdown:
    """A stop byte that is set at its n-th look."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def __getitem__(self, index: int) -> int:
        assert index == 0
        self.left -= 1
        return self.left <= 0


@pytest.mark.parametrize("run", [lambda stop: count(0, 30 * 5 * SLICE, stop), lambda stop: sieve(0, 5 * SLICE, stop)])
def test_it_looks_at_the_stop_byte_before_each_slice(run):
    never = Countdown(10**6)
    run(never)
    assert 10**6 - never.left == 5
    with pytest.raises(CancelledError, match=f"before the primes from {60 * SLICE} on"):
        run(Countdown(3))


@pytest.mark.parametrize("lo", [0, MOST - 10**12])
def test_another_thread_can_stop_it(lo):
    byte, running = memoryview(bytearray(1)), threading.Event()

    class Seen:
        def __getitem__(self, index: int) -> int:
            running.set()
            return byte[index]

    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(count, lo, lo + 10**12, Seen())
        assert running.wait(30)
        byte[0] = 1
        with pytest.raises(CancelledError):
            long.result(30)


@pytest.mark.parametrize(("lo", "hi"), [(-1, 5), (5, 4), (0, MOST + 1)])
@pytest.mark.parametrize("counter", [count, primes_plain])
def test_what_cannot_be_sieved_is_refused(counter, lo, hi):
    with pytest.raises(ConfigError, match="take 0 <= lo <= hi"):
        counter(lo, hi)


@pytest.mark.parametrize(("first", "length"), [(-1, 5), (5, -1), (0, MOST // 30 + 2)])
def test_bytes_that_cannot_be_sieved_are_refused(first, length):
    with pytest.raises(ConfigError, match="cannot be sieved"):
        sieve(first, length)
