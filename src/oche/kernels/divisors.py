"""Trial division: the smallest divisor of n in a range, by trying all candidates there are.

Candidates are the numbers coprime to 2, 3, 5 and 7: 192 in a block of 840. Dividing integers is slow and no machine
does it to a vector, so the quotient is made of floats, rounded to the nearest integer q, and judged in integers:
d divides n only if q d = n, and no other q need be tried, as the float is less than 1/2 off wherever d divides n.

- Division. For d >= 2**14 and n < 2**64 a quotient Q = n / d is below 2**50. The float of n and the division are off
  by a factor of 1 +- 2**-53 each, together by less than 0.26; adding 1/2 rounds once more, by 2**-4 at most.
- Gliding, from D = (220500 n)**(1/3) on: across a block the quotient is all but a straight line. With D its middle,
  q0 = n / D and x = (d - D) / D, |x| <= m = 420 / D: n / d = q0 (1 - x + x**2 / (1 + x)), and we take
  q0 (1 - x + m**2 / 2). That is off by q0 m**2 (1 / (1 - m) - 1/2) at most: q0 m**2 / 2 = n 420**2 / (2 D**3) is 0.4
  or less, and the rest less than 0.03, as D > 16000. There q0 <= n**(2/3) / 60 < 2**37, so some ten roundings of
  2**-53 each are nothing beside the 0.07 that is left. A multiplication and no division: nearly three times as fast.

q d is taken modulo 2**64, which can only let a number pass that does not divide; whatever passes is divided once more.
"""

from __future__ import annotations

import math

import numpy as np

from oche.errors import ConfigError
from oche.kernels.compiling import compiled_for
from oche.kernels.stopping import StopByte, look

#: Numbers of a block: a multiple of 210, and a whole number of vectors of candidates.
BLOCK = 840
#: Blocks between two looks at the stop byte: 1 to 4 ms.
SLICE = 2**15
#: Below this, floats are not sure to be right: candidates are divided in plain Python.
FLOATS = 2**14
#: The same for plain Python: about 4 ms.
PLAIN_SLICE = 2**9

_TURNS = tuple(r for r in range(BLOCK) if math.gcd(r, 210) == 1)
_CANDIDATES = np.array(_TURNS, np.int64)
_COUNT = len(_TURNS)
_MIDDLE = BLOCK // 2


def _divide(n: int, wanted: int, first: int, last: int) -> int:
    """The first of the blocks first .. last - 1 with a candidate that passes, else last. `wanted`: n as int64 bits."""
    real = np.float64(n)
    for block in range(first, last):
        passed = False
        for i in range(_COUNT):
            d = block * BLOCK + _CANDIDATES[i]
            q = np.int64(real / np.float64(d) + 0.5)
            passed |= q * d == wanted
        if passed:
            return block
    return last


def _glide(n: int, wanted: int, first: int, last: int) -> int:
    """As `_divide`."""
    real = np.float64(n)
    for block in range(first, last):
        start = block * BLOCK
        middle = np.float64(start + _MIDDLE)
        quotient = real / middle
        slope = quotient / middle
        level = quotient + slope * _MIDDLE + slope / middle * (_MIDDLE * _MIDDLE / 2.0) + 0.5  # at the block's start
        passed = False
        for i in range(_COUNT):
            q = np.int64(level - slope * np.float64(_CANDIDATES[i]))
            passed |= q * (start + _CANDIDATES[i]) == wanted
        if passed:
            return block
    return last


# Floats divide as in numpy, or nothing is a vector; a product and a sum may be rounded once instead of twice.
_compile = compiled_for("int64(uint64, int64, int64, int64)", error_model="numpy", fastmath={"contract"})
_divide_compiled, _glide_compiled = _compile(_divide), _compile(_glide)


def find(n: int, lo: int, hi: int, stop: StopByte | None = None) -> int | None:
    """The smallest divisor d of n with lo <= d < hi, or None. All are tried, up to the first that divides.

    n has no factor 2, 3, 5 or 7, and hi is at most isqrt(n) + 1. From 2**64 on plain Python divides, some 200 times
    slower.
    Releases the GIL for some milliseconds at a time, and looks at `stop[0]` in between: raises `CancelledError` once it
    is not zero. Raises `ConfigError` for another n, lo or hi.
    """
    _check(n, lo, hi)
    plain = hi if n >= 2**64 else min(hi, max(lo, FLOATS))
    found = _find_here(n, lo, plain, stop)
    lo = plain
    glide = _glide_from(n)
    while found is None and lo < hi:
        look(stop, f"before the divisors of {n} from {lo} on")
        first, last = lo // BLOCK, -(-hi // BLOCK)
        if first < glide:
            run, last = _divide_compiled, min(last, glide, first + SLICE)
        else:
            run, last = _glide_compiled, min(last, first + SLICE)
        block = run(n, n - 2**64 if n >= 2**63 else n, first, last)
        if block < last:  # one passed; it may also lie outside of lo .. hi
            found = find_plain(n, max(lo, block * BLOCK), min(hi, (block + 1) * BLOCK))
            last = block + 1
        lo = last * BLOCK
    return found


def _glide_from(n: int) -> int:
    """The first block that may glide; a float is precise enough, as the bound has a fifth to spare."""
    return int((_MIDDLE * _MIDDLE / 0.8 * n) ** (1 / 3) / BLOCK) + 1


def _find_here(n: int, lo: int, hi: int, stop: StopByte | None) -> int | None:
    """As `find`, for any n."""
    for block in range(lo // BLOCK, -(-hi // BLOCK)):
        if block % PLAIN_SLICE == 0:
            look(stop, f"before the divisors of {n} from {block * BLOCK} on")
        start = block * BLOCK
        for turn in _TURNS:
            if n % (start + turn) == 0 and lo <= start + turn < hi:
                return start + turn
    return None


def find_plain(n: int, lo: int, hi: int) -> int | None:
    """What `find` finds, in plain Python, number by number: its oracle."""
    return next((d for d in range(lo, hi) if n % d == 0), None)


def _check(n: int, lo: int, hi: int) -> None:
    if n < 1 or math.gcd(n, 210) != 1:
        raise ConfigError(f"n = {n} has a factor 2, 3, 5 or 7, or is none of 1, 2, ...; divide them out first")
    if not 2 <= lo <= hi <= math.isqrt(n) + 1:
        raise ConfigError(f"divisors of {n} from {lo} to {hi}: take 2 <= lo <= hi <= {math.isqrt(n) + 1}, the root + 1")
