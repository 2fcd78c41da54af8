"""Atomic operations against their plain twins, and against processes that use them at once."""

from __future__ import annotations

import mmap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from oche.errors import ConfigError
from oche.kernels import atomic
from oche.kernels.atomic import cell, compare_exchange, exchange, fetch_add, load, store

int64 = st.integers(-(2**63), 2**63 - 1)
few = st.integers(-2, 2) | int64
operations = st.one_of(
    st.tuples(st.just("fetch_add"), few),
    st.tuples(st.just("exchange"), few),
    st.tuples(st.just("compare_exchange"), few, few),
)


@settings(deadline=None, max_examples=200)
@given(few, st.lists(operations, max_size=30))
def test_each_does_what_its_twin_does(begin, steps):
    memory = mmap.mmap(-1, 16)
    fast, plain = cell(memory, 8), np.zeros(1, np.int64)
    store(fast, begin)
    plain[0] = begin
    for name, *arguments in steps:
        assert getattr(atomic, name)(fast, *arguments) == getattr(atomic, f"{name}_plain")(plain, *arguments)
        assert load(fast) == fast[0] == plain[0]
    assert memory[:8] == bytes(8)


def test_any_writable_buffer():
    for buffer in (bytearray(24), memoryview(bytearray(24)), mmap.mmap(-1, 24), np.zeros((3,), np.float64)):
        one = cell(buffer, 16)
        assert (fetch_add(one, 5), exchange(one, 7), compare_exchange(one, 7, 9), load(one)) == (0, 5, 7, 9)
        assert bytes(buffer)[16:] == (9).to_bytes(8, "little") if not isinstance(buffer, mmap.mmap) else True


@pytest.mark.parametrize(
    ("buffer", "offset"),
    [
        (bytes(8), 0),
        (bytearray(7), 0),
        (bytearray(8), 1),
        (bytearray(8), -8),
        (bytearray(16), 4),
        (np.zeros(8)[::2], 0),
        (bytearray(0), 0),
    ],
)
def test_a_buffer_that_holds_none_is_refused(buffer, offset):
    with pytest.raises(ConfigError, match="byte"):
        cell(buffer, offset)


def test_compiled_code_calls_them_and_threads_lose_nothing():
    from concurrent.futures import ThreadPoolExecutor

    @njit(nogil=True)
    def add_many(shared, times):
        for _ in range(times):
            fetch_add(shared, 1)
        return load(shared)

    one = cell(bytearray(8))
    assert add_many(one, 10) == 10
    with ThreadPoolExecutor(4) as pool:
        ends = list(pool.map(add_many, [one] * 4, [500_000] * 4))
    assert load(one) == max(ends) == 2_000_010


def test_compiled_threads_agree_who_was_first():
    """Each place is claimed by one of two threads: compare and exchange lets nobody in twice."""
    from concurrent.futures import ThreadPoolExecutor

    @njit(nogil=True)
    def claim(places, me):
        won = 0
        for i in range(places.size):
            won += compare_exchange(places[i : i + 1], 0, me) == 0
        return won

    places = np.zeros(1_000_000, np.int64)
    claim(places[:1], 9)
    with ThreadPoolExecutor(2) as pool:
        won = list(pool.map(claim, [places[1:]] * 2, [1, 2]))
    assert sum(won) == places.size - 1
    assert [int((places == me).sum()) for me in (1, 2)] == won
