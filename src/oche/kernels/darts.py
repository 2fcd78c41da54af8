"""Darts thrown at the unit square, counted where they fall inside the quarter circle: exactly, and fast.

Dart i of seed s is a pure function of (s, i). Philox4x32-10 with the seed as its key turns block b = i // 2 into
four 32-bit words; the even dart takes (u, v) = (w0, w1), the odd one (w2, w3). It lands at x = (u | 1) / 2**32,
y = (v | 1) / 2**32: with the lowest bit set, in the middle of a cell of a 2**31 x 2**31 lattice.

Inside is decided in integers, with no rounding: x*x + y*y < 1 says (u | 1)**2 + (v | 1)**2 < 2**64. Each square fits
64 bits, so a dart is outside exactly if their 64-bit sum wraps around. (A tie cannot be: odd squares are 1 mod 8,
so their sum is 2 mod 8.)

The lattice is off pi by 1.0e-14 (counted out exactly, see `docs/pi.md`): far below any standard error to be reached.
"""

from __future__ import annotations

import numpy as np

from oche.errors import ConfigError
from oche.kernels.compiling import compiled_for
from oche.kernels.philox import MASK, MULTIPLIERS, WEYL, key_of, philox4x32
from oche.kernels.stopping import StopByte, look

#: Indices of darts, and what `hi` may be at most.
MOST = 2**63
#: Blocks between two looks at the stop byte: 5 to 10 ms. It divides 2**32, so that no slice crosses a multiple of that.
SLICE = 2**22


_M0, _M1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
_W0, _W1 = np.uint64(WEYL[0]), np.uint64(WEYL[1])
_LOW, _HALF, _ONE = np.uint64(MASK), np.uint64(32), np.uint64(1)


def _outside(low: int, blocks: int, high: int, key0: int, key1: int) -> int:
    """Darts outside the circle, of `blocks` whole blocks from `high * 2**32 + low` on; low + blocks <= 2**32.

    Every word lives in the lower half of 64 bits, as the widening multiplications want it that LLVM vectorises.
    What depends on no block leaves the loop. The first round is written out: its one product that is not zero
    grows by _M0 from block to block, so it is counted up instead of multiplied.
    """
    even = odd = np.int32(0)  # darts outside; half as wide as the words, which saves a tenth of the time
    begin, end = np.uint64(low), np.uint64(low + blocks)
    for product in range(begin * _M0, end * _M0, _M0):
        k0, k1 = np.uint64(key0) & _LOW, np.uint64(key1) & _LOW
        c0, c1 = np.uint64(high) ^ k0, np.uint64(0)
        c2, c3 = (product >> _HALF) ^ k1, product & _LOW
        for _ in range(9):
            k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
            product0, product1 = _M0 * c0, _M1 * c2
            c0, c1 = (product1 >> _HALF) ^ c1 ^ k0, product1 & _LOW
            c2, c3 = (product0 >> _HALF) ^ c3 ^ k1, product0 & _LOW
        c0, c1, c2, c3 = c0 | _ONE, c1 | _ONE, c2 | _ONE, c3 | _ONE
        a, b, c, d = c0 * c0, c1 * c1, c2 * c2, c3 * c3
        even = np.int32(even + np.int32(a > ~b))  # a + b > 2**64 - 1
        odd = np.int32(odd + np.int32(c > ~d))
    return int(even) + int(odd)


_outside_compiled = compiled_for("int64(int64, int64, int64, int64, int64)")(_outside)


def count(lo: int, hi: int, seed: int, stop: StopByte | None = None) -> int:
    """How many of the darts lo .. hi - 1 of this seed are inside. Additive: any split of a range gives the same sum.

    Releases the GIL for about 5 ms at a time, and looks at `stop[0]` in between: raises `CancelledError` once it is
    not zero. Raises `ConfigError` unless 0 <= lo <= hi <= 2**63 and 0 <= seed < 2**64.
    """
    _check(lo, hi)
    key0, key1 = key_of(seed)
    first, last = (lo + 1) // 2, hi // 2  # whole blocks; the ends that are half a block go to the twin
    if first > last:
        return count_plain(lo, hi, seed)
    inside = count_plain(lo, 2 * first, seed) + count_plain(2 * last, hi, seed)
    while first < last:
        look(stop, f"before dart {2 * first} of {lo} .. {hi}")
        blocks = min(SLICE - first % SLICE, last - first)
        inside += 2 * blocks - _outside_compiled(first & MASK, blocks, first >> 32, key0, key1)
        first += blocks
    return inside


def count_plain(lo: int, hi: int, seed: int) -> int:
    """What `count` computes, in plain Python, a dart at a time: its oracle. About 7 microseconds a dart."""
    _check(lo, hi)
    key = key_of(seed)
    inside = 0
    for dart in range(lo, hi):
        block, odd = divmod(dart, 2)
        words = philox4x32((block & MASK, block >> 32, 0, 0), key)
        u, v = words[2 * odd : 2 * odd + 2]
        inside += (u | 1) ** 2 + (v | 1) ** 2 < 2**64
    return inside


def _check(lo: int, hi: int) -> None:
    if not 0 <= lo <= hi <= MOST:
        raise ConfigError(f"darts {lo} .. {hi} cannot be thrown: take 0 <= lo <= hi <= 2**63")
