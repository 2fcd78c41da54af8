"""The sieve of Eratosthenes on a wheel of 30: eight bits, one byte, for thirty numbers.

Above 5, primes are 1, 7, 11, 13, 17, 19, 23 or 29 mod 30; bit k of byte b stands for 30 b + RESIDUES[k]. How a prime's
multiples are crossed off depends on how far apart they are:
    p up to 103       patterns that repeat, made once, are laid over the bytes
    up to SMALL       in blocks that fit the first-level cache
    up to MEDIUM      in slices that fit the second-level cache
    above             across a whole segment, which grows with the largest p, so that p meets it often enough

Patterns, and parts that fit caches, are ideas known from primesieve (Walisch). References: Sorenson, An introduction to
prime number sieves, 1990; Oliveira e Silva, Herzog, Pardi, Empirical verification of the even Goldbach conjecture and
computation of prime gaps up to 4e18, Math. Comp. 83, 2014.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from oche.errors import ConfigError
from oche.kernels.crossing import BLOCK, RESIDUES, cross, cross_blocks, ones, spell
from oche.kernels.stopping import Array, StopByte, look

#: What the end of a range may be at most: then every sum below fits int64.
MOST = 2**63
#: Bytes of a slice, half of a second-level cache; also what is done between two looks at the stop byte: 2 to 5 ms.
SLICE = 2**19
#: Bytes of a segment at most: a billion numbers.
SEGMENT = 2**25
#: Where primes change their way, see above; measured.
SMALL, MEDIUM = 6000, 2**19
#: Larger primes that cross off between two looks at the stop byte.
CHUNK = 2**13
#: Up to here larger primes are kept from one segment to the next (32 MB); above they are made again for each.
KEPT = 2**26
#: Primes whose patterns are laid together: by twos from both ends, so that all periods are short.
GROUPS = (
    (7, 11, 13, 17), (19, 103), (23, 101), (29, 97), (31, 89), (37, 83), (41, 79), (43, 73), (47, 71), (53, 67),
    (59, 61),
)  # fmt: skip


def sieve(first: int, length: int, stop: StopByte | None = None) -> Array:
    """Which of the numbers 30 first .. 30 (first + length) - 1 are primes above 5: `length` bytes, uint8.

    Releases the GIL for some milliseconds at a time, and looks at `stop[0]` in between: raises `CancelledError` once
    it is not zero. Raises `ConfigError` unless 0 <= first, 0 <= length and 30 (first + length) < 2**63 + 30.
    """
    if first < 0 or length < 0 or 30 * (first + length) >= MOST + 30:
        raise ConfigError(f"{length} bytes from {first} on cannot be sieved: they must lie within 0 .. 2**63")
    bits = np.empty(length, np.uint8)
    size, larger = _plan(first + length, stop)
    for at in range(0, length, size):
        _fill(bits[at : at + size], first + at, larger(), stop)
    return bits


def count(lo: int, hi: int, stop: StopByte | None = None) -> int:
    """How many primes p there are, lo <= p < hi. Otherwise as `sieve`; `ConfigError` unless 0 <= lo <= hi <= 2**63."""
    _check(lo, hi)
    first, last = lo // 30, -(-hi // 30)
    size, larger = _plan(last, stop)
    buffer = np.zeros(-(-min(size, last - first) // 8) * 8, np.uint8)
    total = sum(lo <= p < hi for p in (2, 3, 5))
    for at in range(first, last, size):
        bits = buffer[: min(size, last - at)]
        _fill(bits, at, larger(), stop)
        trim(bits, at, lo, hi)
        buffer[bits.size :] = 0
        total += ones(buffer.view(np.uint64))
    return total


def segment_size(last: int) -> int:
    """Bytes of a segment for numbers below 30 `last`: twice the largest prime that crosses off, within bounds."""
    return min(max(SLICE, 2 * math.isqrt(30 * last)), SEGMENT)


def _plan(last: int, stop: StopByte | None) -> tuple[int, Callable[[], Iterable[Array]]]:
    """Bytes of a segment, and where the larger primes come from, each time they are asked for."""
    limit = math.isqrt(30 * last)
    if limit > KEPT:
        return segment_size(last), lambda: _larger(limit, stop)
    kept = list(_larger(limit, stop))
    return segment_size(last), lambda: kept


def _larger(limit: int, stop: StopByte | None) -> Iterator[Array]:
    """The primes above MEDIUM up to the limit, in chunks."""
    end = limit // 30 + 1
    for first in range(MEDIUM // 30, end, SLICE):
        found = numbers(sieve(first, min(SLICE, end - first), stop), first)
        found = found[(found > MEDIUM) & (found <= limit)]
        for at in range(0, found.size, CHUNK):
            yield found[at : at + CHUNK]


def _fill(bits: Array, first: int, larger: Iterable[Array], stop: StopByte | None) -> None:
    """Sieves one segment."""
    small, medium, *patterns = _tables()
    medium = medium[: np.searchsorted(medium, math.isqrt(30 * (first + bits.size)), "right")]
    for at in range(0, bits.size, SLICE):
        look(stop, f"before the primes from {30 * (first + at)} on")
        part = bits[at : at + SLICE]
        cross_blocks(part, first + at, small, *patterns)
        cross(part, first + at, medium)
    for primes in larger:
        look(stop, f"before the primes from {30 * first} on")
        cross(bits, first, primes)
    if first == 0:
        bits[:1] &= 0xFE  # 1 is no prime
    for p in (p for group in GROUPS for p in group):  # the patterns clear the primes themselves, too
        if first <= p // 30 < first + bits.size:
            bits[p // 30 - first] |= 1 << RESIDUES.index(p % 30)


@functools.cache
def _tables() -> tuple[Array, Array, Array, Array, Array]:
    """Small primes, medium primes, the patterns one after the other, where each begins, and after how much it repeats.

    A pattern has a period and half a block more, so that it seldom has to be begun anew.
    """
    left = np.ones(MEDIUM, np.bool_)
    for d in range(2, math.isqrt(MEDIUM) + 1):
        left[d * d :: d] = False
    primes = np.flatnonzero(left).astype(np.int64)
    primes = primes[primes > max(map(max, GROUPS))]
    patterns = []
    for group in GROUPS:
        pattern = np.full(math.prod(group) + BLOCK // 2, 0xFF, np.uint8)
        # Far enough out that all multiples count, and a whole number of periods from 0.
        cross(pattern, math.prod(group) * max(group), np.array(group, np.int64))
        patterns.append(pattern)
    begins = np.cumsum([0, *map(len, patterns)])
    periods = np.array([math.prod(group) for group in GROUPS])
    cut = np.searchsorted(primes, SMALL)
    return primes[:cut], primes[cut:], np.concatenate(patterns), begins, periods


def _check(lo: int, hi: int) -> None:
    if not 0 <= lo <= hi <= MOST:
        raise ConfigError(f"primes of {lo} .. {hi} cannot be sieved: take 0 <= lo <= hi <= 2**63")


def trim(bits: Array, first: int, lo: int, hi: int) -> None:
    """Clears the bits of numbers below lo and from hi on, in the byte of lo and that of hi."""
    for byte, keep in ((lo // 30, [r >= lo % 30 for r in RESIDUES]), (hi // 30, [r < hi % 30 for r in RESIDUES])):
        if first <= byte < first + bits.size:
            bits[byte - first] &= sum(kept << k for k, kept in enumerate(keep))


def numbers(bits: Array, first: int, before: Sequence[int] = ()) -> Array:
    """`before`, and then the numbers whose bits are set, ascending; int64."""
    whole = bits.size // 8 * 8
    found = ones(bits[:whole].view(np.uint64)) + int(np.unpackbits(bits[whole:]).sum())
    out = np.empty(len(before) + found + 1, np.int64)
    out[: len(before)] = before
    spell(bits, first, np.array(RESIDUES), out[len(before) :])
    return out[:-1]


def primes_plain(lo: int, hi: int) -> list[int]:
    """The primes p, lo <= p < hi, in plain Python: the oracle of `sieve` and `count`. Divides by all up to the root."""
    _check(lo, hi)
    left = [n >= 2 for n in range(lo, hi)]
    for d in range(2, math.isqrt(max(hi - 1, 0)) + 1):
        for n in range(max(d * d, -(-lo // d) * d), hi, d):
            left[n - lo] = False
    return [n for n, prime in zip(range(lo, hi), left, strict=True) if prime]
