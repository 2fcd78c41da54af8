"""Radix sort of 64-bit keys: split by the highest byte in which they differ, until what is left fits a near cache.

There, three bytes of the keys are sorted from the lowest to the highest (LSD). As a rule that leaves next to nothing
to do, and insertion sort does it; where it has too much to do, all bytes are sorted likewise. So the time is linear
for any keys. Every step keeps equal keys in their order.
"""

from __future__ import annotations

import numpy as np

from oche.kernels.compiling import compiled
from oche.kernels.partition import NOWHERE, PARTS, scatter
from oche.kernels.stopping import Array, StopByte, look

#: Keys of a leaf, at most: with their spare copy 256 KiB, or twice as much with places, of a second-level cache.
LEAF = 2**14
#: Keys of a leaf that insertion sort takes by itself.
FEW = 32
#: Moves for each key after which insertion sort gives up.
PATIENCE = 4
#: Bits that a leaf is sorted by at first.
TOP = 24
#: Keys in leaves between two looks at the stop byte: a few milliseconds.
BATCH = 2**17

_BYTE, _MOST = np.uint64(255), np.uint64(2**64 - 1)


@compiled
def _insert(keys: Array, places: Array, lo: int, hi: int, moves: int) -> bool:
    """Insertion sort of lo .. hi - 1; False once it took more moves than these, with all keys there."""
    placed = places.size > 0
    for i in range(lo + 1, hi):
        key = keys[i]
        if keys[i - 1] <= key:
            continue
        place = places[i] if placed else 0
        j = i
        while j > lo and keys[j - 1] > key:
            keys[j] = keys[j - 1]
            if placed:
                places[j] = places[j - 1]
            j -= 1
        keys[j] = key
        if placed:
            places[j] = place
        moves -= i - j
        if moves < 0:
            return False
    return True


@compiled
def _pass(
    keys: Array, places: Array, lo: int, n: int, to: Array, to_places: Array, at: int,
    low: np.uint64, shift: np.uint64, counts: Array,
) -> None:  # fmt: skip
    """The n keys from lo on, in the order of one byte of their distance from the key `low`, to `to` from `at` on."""
    counts[:] = 0
    for i in range(lo, lo + n):
        counts[((keys[i] - low) >> shift) & _BYTE] += 1
    end = at
    for digit in range(256):
        count = counts[digit]
        counts[digit] = end
        end += count
    if places.size > 0:
        for i in range(lo, lo + n):
            digit = ((keys[i] - low) >> shift) & _BYTE
            end = counts[digit]
            counts[digit] = end + 1
            to[end] = keys[i]
            to_places[end] = places[i]
    else:
        for i in range(lo, lo + n):
            digit = ((keys[i] - low) >> shift) & _BYTE
            end = counts[digit]
            counts[digit] = end + 1
            to[end] = keys[i]


def _leaves(keys: Array, places: Array, ends: Array, lo: int, spare: Array, spare_places: Array) -> None:
    """Sorts the leaves that begin at lo and end at `ends`, each by itself."""
    counts = np.empty(256, np.int64)
    for hi in ends:
        n = hi - lo
        if n <= FEW:
            _insert(keys, places, lo, hi, FEW * FEW)
            lo = hi
            continue
        low, high = _MOST, np.uint64(0)
        for i in range(lo, hi):
            low, high = min(low, keys[i]), max(high, keys[i])
        bits = 0
        while bits < 64 and (high - low) >> np.uint64(bits) > 0:
            bits += 1
        bottom = max(0, bits - TOP)
        done = False
        while not done:
            back = False
            for shift in range(bottom, bits, 8):
                if back:
                    _pass(spare, spare_places, 0, n, keys, places, lo, low, np.uint64(shift), counts)
                else:
                    _pass(keys, places, lo, n, spare, spare_places, 0, low, np.uint64(shift), counts)
                back = not back
            if back:
                keys[lo:hi] = spare[:n]
                if places.size > 0:
                    places[lo:hi] = spare_places[:n]
            done = bottom == 0 or _insert(keys, places, lo, hi, PATIENCE * n)
            bottom = 0
        lo = hi


def _digits(keys: Array, lo: int, hi: int, low: np.uint64, shift: np.uint64, parts: Array, counts: Array) -> None:
    """The byte above `shift` of each key's distance from the lowest, and how often each comes."""
    for i in range(lo, hi):
        part = (keys[i] - low) >> shift
        parts[i] = part
        counts[part] += 1


_leaves_compiled, _digits_compiled = compiled(_leaves), compiled(_digits)


def sort(keys: Array, places: Array = NOWHERE, stop: StopByte | None = None) -> None:
    """Sorts keys (uint64) where they are, and moves their places (int64) with them, if given; stable.

    Raises `CancelledError` once `stop[0]` is not zero; keys and places are then in no order.
    """
    spare = np.empty(min(keys.size, LEAF), np.uint64), np.empty(min(places.size, LEAF), np.int64)
    if keys.size <= LEAF:
        look(stop, "amid the sorting")
        _leaves_compiled(keys, places, np.array([keys.size]), 0, *spare)
        return
    low, high = keys.min(), keys.max()
    if low == high:
        return
    shift = np.uint64(max(0, int(high - low).bit_length() - 8))
    parts, counts = np.empty(keys.size, np.uint8), np.zeros(PARTS, np.int64)
    for lo in range(0, keys.size, BATCH):
        look(stop, "amid the sorting")
        _digits_compiled(keys, lo, min(lo + BATCH, keys.size), low, shift, parts, counts)
    keys[:], places[:] = scatter(keys, places, parts, counts, stop)
    del parts
    if not shift:
        return
    ends = np.cumsum(counts)
    begin = first = 0
    for part, end in enumerate(map(int, ends)):
        large = counts[part] > LEAF
        if large or end - begin > BATCH or part == PARTS - 1:
            look(stop, "amid the sorting")
            _leaves_compiled(keys, places, ends[first : part + (not large)], begin, *spare)
            begin, first = end, part + 1
        if large:
            begins = end - int(counts[part])
            sort(keys[begins:end], places[begins:end], stop)


def sort_plain(keys: list[int], places: list[int]) -> tuple[list[int], list[int]]:
    """What `sort` computes, in plain Python: its oracle."""
    pairs = sorted(zip(keys, places, strict=True), key=lambda pair: pair[0])
    return [key for key, _ in pairs], [place for _, place in pairs]
