"""The compiled partition and radix sort against their plain twins, for keys that are unkind to them."""

from __future__ import annotations

from concurrent.futures import CancelledError

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oche.errors import ConfigError
from oche.kernels.partition import PARTS, SLICE, partition, partition_plain
from oche.kernels.radix import BATCH, LEAF, sort, sort_plain

words = st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1), st.sampled_from([2**64 - 1, 2**63, 2**56, 2**32]))
RNG = np.random.default_rng(7)


def whole(n):
    return RNG.integers(0, 2**64 - 1, n, dtype=np.uint64, endpoint=True)


SHAPES = {
    "random": whole,
    "small": lambda n: RNG.integers(0, 5, n, dtype=np.uint64),
    "equal": lambda n: np.full(n, 2**64 - 1, np.uint64),
    "sorted": lambda n: np.sort(whole(n)),
    "reversed": lambda n: np.sort(whole(n))[::-1].copy(),
    "powers": lambda n: np.uint64(1) << RNG.integers(0, 64, n, dtype=np.uint64),
    "a crowd and far outliers": lambda n: np.where(RNG.random(n) < 0.99, whole(n) >> np.uint64(40), whole(n)),
    "equal tops": lambda n: (RNG.integers(0, 50, n, dtype=np.uint64) << np.uint64(40)) | (whole(n) >> np.uint64(44)),
    "two crowds": lambda n: (RNG.integers(0, 2, n, dtype=np.uint64) << np.uint64(63)) | (whole(n) >> np.uint64(44)),
}


@settings(deadline=None, max_examples=200)
@given(st.lists(words, max_size=120))
@example([])
def test_sort_is_what_the_twin_sorts(keys):
    got, places = np.array(keys, np.uint64), np.arange(len(keys), dtype=np.int64)
    sort(got, places)
    assert (got.tolist(), places.tolist()) == sort_plain(keys, list(range(len(keys))))
    alone = np.array(keys, np.uint64)
    sort(alone)
    assert alone.tolist() == got.tolist()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [31, 33, 1000, LEAF - 1, LEAF + 1, BATCH + 77, 3 * 2**17])
def test_any_keys_are_sorted_and_equal_ones_keep_their_order(shape, n):
    keys = SHAPES[shape](n)
    got, places = keys.copy(), np.arange(n)
    sort(got, places)
    assert np.array_equal(places, np.argsort(keys, kind="stable"))
    assert np.array_equal(got, keys[places])
    alone = keys.copy()
    sort(alone)
    assert np.array_equal(alone, got)


pairs = st.lists(st.tuples(words, st.integers(0, 150)), max_size=40).map(sorted)


@settings(deadline=None, max_examples=200)
@given(st.lists(words, max_size=100), st.integers(0, 60), pairs)
@example([2**64 - 1] * 9, 3, [(2**64 - 1, 5), (2**64 - 1, 8)])
@example([5] * 9, 0, [(5, 2)] * 3)
def test_partition_is_what_the_twin_does(keys, first, splitters):
    limits, where = [key for key, _ in splitters], [place for _, place in splitters]
    given_to = np.array(keys, np.uint64), first, np.array(limits, np.uint64), np.array(where, np.int64)
    got = partition(
        np.array(keys, np.uint64), first, np.array(limits, np.uint64), np.array(where, np.int64), placed=True
    )
    assert tuple(array.tolist() for array in got) == partition_plain(keys, first, limits, where)
    again = partition(*given_to)
    assert [array.tolist() for array in again] == [got[0].tolist(), [], got[2].tolist()]


def test_partition_of_many_slices_into_the_most_parts():
    keys, positions = whole(2 * SLICE + 5), np.zeros(PARTS - 1, np.int64)
    splitters = np.sort(keys[: PARTS - 1])
    put, places, counts = partition(keys, 0, splitters, positions, placed=True)
    parts = np.searchsorted(splitters, keys, "right")
    assert np.array_equal(places, np.argsort(parts, kind="stable"))
    assert np.array_equal(put, keys[places])
    assert np.array_equal(counts, np.bincount(parts, minlength=PARTS))


@pytest.mark.parametrize(("keys", "positions"), [(PARTS, PARTS), (3, 2)])
def test_splitters_that_cannot_be_are_refused(keys, positions):
    with pytest.raises(ConfigError, match=f"{keys} splitters, {positions} positions"):
        partition(whole(9), 0, np.zeros(keys, np.uint64), np.zeros(positions, np.int64))


class Countdown:
    """A stop byte that is set at its n-th look."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def __getitem__(self, index: int) -> int:
        assert index == 0
        self.left -= 1
        return self.left <= 0


@pytest.mark.parametrize("looks", [1, 2, 5, 9, 12])
def test_sort_stops_when_it_is_told(looks):
    stop = Countdown(looks)
    with pytest.raises(CancelledError):
        sort(whole(5 * BATCH), stop=stop)
    assert stop.left == 0


@pytest.mark.parametrize("looks", [1, 2, 4])
def test_partition_stops_when_it_is_told(looks):
    with pytest.raises(CancelledError):
        partition(whole(2 * SLICE), 0, whole(1), np.zeros(1, np.int64), Countdown(looks))
