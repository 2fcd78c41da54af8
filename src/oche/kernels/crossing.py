"""Bits on a wheel of 30: how the multiples of primes are crossed off, bits counted, and numbers spelled out.

The multiples of a prime p that are on the wheel fall into eight classes, by what p is multiplied with; within a class
the bit is always the same, and the byte goes up by p. So to cross off is eight plain loops: `bits[j] &= keep; j += p`.
The oracle of all this is `oche.kernels.sieve.primes_plain`.
"""

from __future__ import annotations

import numpy as np

from oche.kernels.compiling import compiled
from oche.kernels.stopping import Array

RESIDUES = (1, 7, 11, 13, 17, 19, 23, 29)
#: Bytes of a block, at most those of a first-level cache.
BLOCK = 2**15

#: [m % 30, k]: how far beyond m the next number is that is RESIDUES[k] mod 30.
_AHEAD = np.array([[(r - m) % 30 for r in RESIDUES] for m in range(30)], np.int64)
#: [p % 30, k]: the bits that stay where p times RESIDUES[k] mod 30 is crossed off.
_KEEP = np.array([[255 - (1 << RESIDUES.index(p * r % 30)) if p % 30 in RESIDUES else 255 for r in RESIDUES]
                  for p in range(30)], np.uint8)  # fmt: skip
_30 = np.uint64(30)

# Indices are unsigned: for signed ones numba tests at each step whether they count from the end.


@compiled
def _begin(p: int, first: int) -> tuple[int, int]:
    """The first multiplier m >= p of which p m >= 30 first, as m % 30 and p m - 30 first."""
    m, rest = divmod(30 * first, p)
    if m >= p:
        return (m + (rest > 0)) % 30, p - rest if rest > 0 else 0
    return p % 30, p * p - 30 * first


@compiled
def cross(bits: Array, first: int, primes: Array) -> None:
    """Clears the multiples p m, m >= p, of these primes in bytes `first`, first + 1, ..."""
    n = np.uint64(bits.size)
    for i in range(primes.size):
        p = primes[i]
        turn, away = _begin(p, first)
        step = np.uint64(p)
        for k in range(8):
            keep = _KEEP[p % 30, k]
            j = np.uint64(away + p * _AHEAD[turn, k]) // _30
            while j < n:
                bits[j] &= keep
                j += step


@compiled
def cross_blocks(bits: Array, first: int, primes: Array, patterns: Array, begins: Array, periods: Array) -> None:
    """Lays the patterns over the bytes and clears the multiples of small primes, block by block."""
    following = np.empty((primes.size, 8), np.uint64)
    for i in range(primes.size):
        turn, away = _begin(primes[i], first)
        for k in range(8):
            following[i, k] = np.uint64(away + primes[i] * _AHEAD[turn, k]) // _30
    for lo in range(0, bits.size, BLOCK):
        hi = min(lo + BLOCK, bits.size)
        for g in range(periods.size):
            at = lo
            while at < hi:
                offset = (first + at) % periods[g]
                run = min(hi - at, begins[g + 1] - begins[g] - offset)
                block = bits[at : at + run]
                pattern = patterns[begins[g] + offset : begins[g] + offset + run]
                if g == 0:
                    for i in range(run):
                        block[i] = pattern[i]
                else:
                    for i in range(run):
                        block[i] &= pattern[i]
                at += run
        end = np.uint64(hi)
        for i in range(primes.size):
            p = np.uint64(primes[i])
            p2, p3, p4 = p + p, p + p + p, p + p + p + p
            for k in range(8):
                keep = _KEEP[p % _30, k]
                j = following[i, k]
                while j + p3 < end:
                    bits[j] &= keep
                    bits[j + p] &= keep
                    bits[j + p2] &= keep
                    bits[j + p3] &= keep
                    j += p4
                while j < end:
                    bits[j] &= keep
                    j += p
                following[i, k] = j


@compiled
def ones(words: Array) -> int:
    """Bits that are set, in uint64: sums of neighbours in each word, twice as wide each time."""
    total = np.int64(0)
    for word in words:
        x = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
        x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
        x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
        total += np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))
    return int(total)


@compiled
def spell(bits: Array, first: int, residues: Array, out: Array) -> None:
    """Writes the number of each bit that is set, and one more: to write always is faster than to ask."""
    n = np.uint64(0)
    for b in range(bits.size):
        for k in range(8):
            out[n] = 30 * (first + b) + residues[k]
            n += np.uint64((bits[b] >> k) & 1)
