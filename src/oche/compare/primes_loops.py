"""Trial division in plain Python, in all the ways that are compared: a share of the odd candidates, lo .. hi - 1.

Each gives back the divisor that it found, or None, and how often it looked at the flag of its kind.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import TypeAlias, cast

from oche.sharing.flag import ByteFlag, Flag

#: By kind; all that a process was given as it started.
Flags: TypeAlias = "Mapping[str, Flag]"
#: The divisor, and looks at the flag.
Found: TypeAlias = "tuple[int | None, int]"
Loop: TypeAlias = "Callable[[Flags, int, int, int, str], Found]"

#: Candidates between two looks.
EVERY = 1000
#: Below this, candidates are tried before any process is asked.
NEAR = 21


def root(n: int) -> int:
    """The end of the candidates of n."""
    return math.isqrt(n) + 1


def near(n: int) -> int | None:
    """A divisor of n below `NEAR`, if there is one."""
    return next((i for i in (2, *range(3, min(NEAR, root(n)), 2)) if n % i == 0 and i < n), None)


def shares(lo: int, hi: int, parts: int) -> list[tuple[int, int]]:
    """The odd candidates lo .. hi - 1 in `parts` ranges of the same length, as near as may be; lo is odd."""
    steps = max(0, -(-(hi - lo) // 2))
    ends = [lo + 2 * (steps * part // parts) for part in range(parts + 1)]
    return [(first, min(last, max(lo, hi))) for first, last in itertools.pairwise(ends)]


def plain(_flags: Flags, n: int, lo: int, hi: int, _kind: str) -> Found:
    """No flag at all: a process goes on to the end of its share, whatever others find."""
    for i in range(lo, hi, 2):
        if n % i == 0:
            return i, 0
    return None, 0


def counted(flags: Flags, n: int, lo: int, hi: int, kind: str) -> Found:
    """Counts down to the next look, at every candidate."""
    flag = flags[kind]
    looks, left = 0, EVERY
    for i in range(lo, hi, 2):
        left -= 1
        if not left:
            left = EVERY
            looks += 1
            if flag.is_set():
                return None, looks
        if n % i == 0:
            flag.set()
            return i, looks
    return None, looks


def look_ahead(flags: Flags, n: int, lo: int, hi: int, kind: str) -> Found:
    """Knows the candidate of its next look, and only compares."""
    flag = flags[kind]
    looks, then = 0, lo + 2 * EVERY
    for i in range(lo, hi, 2):
        if i == then:
            then = i + 2 * EVERY
            looks += 1
            if flag.is_set():
                return None, looks
        if n % i == 0:
            flag.set()
            return i, looks
    return None, looks


def two_stage(flags: Flags, n: int, lo: int, hi: int, kind: str) -> Found:
    """A loop over looks, and in it a loop over candidates with nothing but the division."""
    looks = 0
    for first in range(lo, hi, 2 * EVERY):
        looks += 1
        if flags[kind].is_set():
            return None, looks
        for i in range(first, min(first + 2 * EVERY, hi), 2):
            if n % i == 0:
                flags[kind].set()
                return i, looks
    return None, looks


def local(flags: Flags, n: int, lo: int, hi: int, kind: str) -> Found:
    """The same, where all that the loops name is local: the byte itself, its index, the width of a stage."""
    byte, width = cast(ByteFlag, flags[kind]).byte, 2 * EVERY
    looks = 0
    for first in range(lo, hi, width):
        looks += 1
        if byte[0]:
            return None, looks
        last = first + width
        if last > hi:
            last = hi
        for i in range(first, last, 2):
            if n % i == 0:
                byte[0] = 1
                return i, looks
    return None, looks
