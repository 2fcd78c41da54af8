"""Points spread evenly over a box: point i of a seed is a pure function of (seed, i), coordinate by coordinate.

Philox4x32-10 with the seed as its key turns the counter (b mod 2**32, b // 2**32, j, 1) into four 32-bit words
w0 .. w3, for coordinate j of the points 2b and 2b + 1: the even one takes k = (w0 * 2**32 + w1) // 2**12, the odd one
the same of (w2, w3). The 1 at the counter's end tells these words from those of the darts.

u = (2k + 1) / 2**53 is the middle of one of 2**52 equal cells of 0 .. 1, so it is never 0 or 1, and 1 - u is as
likely; it becomes lower + (upper - lower) * u, at most upper.

A coordinate does not depend on how many there are: the points of a square are those of a cube without their height.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from oche.errors import ConfigError
from oche.kernels.compiling import compiled_for
from oche.kernels.philox import MASK, MULTIPLIERS, WEYL, key_of, philox4x32

Array: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"

#: Indices of points, and what `hi` may be at most.
MOST = 2**63
#: Last word of every counter.
TAG = 1

_M0, _M1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
_W0, _W1 = np.uint64(WEYL[0]), np.uint64(WEYL[1])
_LOW, _HALF, _CUT, _TAG = np.uint64(MASK), np.uint64(32), np.uint64(12), np.uint64(TAG)
#: The bits of 1.0: with k in the lower 52 they are the float 1 + k / 2**52.
_ONE = np.uint64(0x3FF << 52)
#: 1 + k / 2**52 less this is (2k + 1) / 2**53, with no rounding.
_SHIFT = 1.0 - 2.0**-53


def _fill(out: Array, low: int, high: int, key0: int, key1: int, lower: Array, width: Array, upper: Array) -> None:
    """Two columns of `out` for each b from high * 2**32 + low on, all with the same high; a row for each coordinate.

    Every word lives in the lower half of 64 bits, as the widening multiplications want it that LLVM vectorises.
    """
    for j in range(out.shape[0]):
        row, a, w, b = out[j], lower[j], width[j], upper[j]
        for i in range(row.size // 2):
            k0, k1 = np.uint64(key0) & _LOW, np.uint64(key1) & _LOW
            c0, c1, c2, c3 = np.uint64(low + i), np.uint64(high), np.uint64(j), _TAG
            for _ in range(10):
                product0, product1 = _M0 * c0, _M1 * c2
                c0, c1 = (product1 >> _HALF) ^ c1 ^ k0, product1 & _LOW
                c2, c3 = (product0 >> _HALF) ^ c3 ^ k1, product0 & _LOW
                k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
            u = np.uint64(((c0 << _HALF | c1) >> _CUT) | _ONE).view(np.float64) - _SHIFT
            v = np.uint64(((c2 << _HALF | c3) >> _CUT) | _ONE).view(np.float64) - _SHIFT
            row[2 * i] = min(a + w * u, b)  # rounding may carry it above
            row[2 * i + 1] = min(a + w * v, b)


_fill_compiled = compiled_for(
    "void(float64[:,::1], int64, int64, int64, int64, float64[::1], float64[::1], float64[::1])"
)(_fill)


def uniforms(lo: int, hi: int, seed: int, bounds: Sequence[tuple[float, float]], room: Array | None = None) -> Array:
    """Points lo .. hi - 1 of this seed in the box: float64 of shape (hi - lo, len(bounds)), columns contiguous.

    They are put into `room`, if that is given: contiguous float64, of `room_for` numbers or more. New memory costs
    more than the numbers in it, so a loop should bring its own.

    Takes about a nanosecond a coordinate and never looks at a stop byte: memory bounds what one call can take.
    Raises `ConfigError` unless 0 <= lo <= hi <= 2**63 and 0 <= seed < 2**64; the bounds are taken as they are.
    """
    _check(lo, hi)
    key0, key1 = key_of(seed)
    edge = lo - lo % 2**33 + 2**33  # where the counter's second word changes
    if edge < hi:
        return np.concatenate((uniforms(lo, edge, seed, bounds), uniforms(edge, hi, seed, bounds)))
    lower, upper = np.array(bounds, np.float64).reshape(-1, 2).T.copy()
    first, last = lo // 2, (hi + 1) // 2  # what an odd end does not want is made, and not shown
    size = 2 * (last - first) * len(bounds)
    out = (np.empty(size) if room is None else room[:size]).reshape(len(bounds), -1)
    _fill_compiled(out, first & MASK, first >> 32, key0, key1, lower, upper - lower, upper)
    return out[:, lo - 2 * first : hi - 2 * first].T


def room_for(points: int, d: int) -> int:
    """Floats that `uniforms` needs room for."""
    return (points + 2) * d


def uniforms_plain(lo: int, hi: int, seed: int, bounds: Sequence[tuple[float, float]]) -> Array:
    """What `uniforms` makes, in plain Python, a number at a time: its oracle. About 7 microseconds a number."""
    _check(lo, hi)
    key = key_of(seed)
    out = np.empty((hi - lo, len(bounds)))
    for i in range(lo, hi):
        for column, (lower, upper) in enumerate(bounds):
            words = philox4x32((i // 2 & MASK, i // 2 >> 32, column, TAG), key)
            first, second = words[2 * (i % 2) :][:2]
            u = (2 * ((first << 32 | second) >> 12) + 1) / 2**53
            out[i - lo, column] = min(lower + (upper - lower) * u, upper)
    return out


def _check(lo: int, hi: int) -> None:
    if not 0 <= lo <= hi <= MOST:
        raise ConfigError(f"points {lo} .. {hi} cannot be made: take 0 <= lo <= hi <= 2**63")
