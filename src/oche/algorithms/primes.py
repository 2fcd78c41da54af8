"""Primes of a range, counted or listed: the segmented sieve of Eratosthenes, cut for many CPUs.

The range is cut into pieces of a hundred million numbers; a worker makes the base primes up to the root by itself,
which costs next to nothing, and sieves its piece in parts that fit its cache. Counts are exact integers, so their sum
does not depend on who counted what; a list comes back as bits, eight for thirty numbers, and is spelled out here.
"""

from __future__ import annotations

import math
from concurrent.futures import Executor

import numpy as np
import numpy.typing as npt

from oche.algorithms.primality import integer
from oche.algorithms.team import CRASHES, Team, spans
from oche.errors import ConfigError
from oche.stores.arrays import Array, ArrayRef, place
from oche.wire.task import task
from oche.worker.context import stop_byte

#: What the end of a range may be at most: the kernel computes in int64.
MOST = 2**63
#: Bytes of a piece, each for 30 numbers: some 10 ms. Many make good balance, and a job costs below 1 ms.
PIECE = 2**22
#: Bytes of a piece at most, for numbers above 10**13: there the base primes cost most, so pieces grow with the root.
LARGE_PIECE = 2**25
#: Pieces at most: a client keeps one number for each.
PIECES = 2**20
#: Primes that are listed at most, roughly: 2 GiB.
LISTED = 2**28


@task(crashes=CRASHES)
def count_in(lo: int, hi: int) -> int:
    """How many primes p there are, lo <= p < hi."""
    from oche.kernels.sieve import count  # here, so that a client that only counts on others never loads a compiler

    return count(lo, hi, stop_byte())


@task(crashes=CRASHES)
def sieve_in(lo: int, hi: int, *, first: int, out: ArrayRef) -> Array | None:
    """Bytes lo .. hi - 1 of the sieve that begins with number 30 first."""
    from oche.kernels.sieve import sieve

    return place(out, (lo,), sieve(first + lo, hi - lo, stop_byte()))


def count_primes(lo: int, hi: int, *, cluster: Executor | None = None, progress: bool = False) -> int:
    """How many primes p there are with lo <= p < hi <= 2**63: exact, in a few megabytes on each worker.

    A core counts about ten billion numbers a second near 0, a billion near 10**16 and a quarter of one near 10**18.
    Raises `ConfigError` unless 0 <= lo <= hi <= 2**63, and what the cluster raises.
    """
    lo, hi = _checked(lo, hi)
    size = 30 * max(_piece(hi), -(-(hi - lo) // 30 // PIECES))
    with Team(cluster, progress=progress) as team:
        return sum(team.round(count_in, [(lo + a, lo + b) for a, b in spans(hi - lo, size)]))


def primes(lo: int, hi: int, *, cluster: Executor | None = None, progress: bool = False) -> npt.NDArray[np.int64]:
    """The primes p with lo <= p < hi <= 2**63, ascending.

    It needs 8 bytes for a prime and a thirtieth of a byte for a number here. Workers place their bits in the cluster's
    store; where it has none they come in outcomes, 4 MiB each, for which some brokers have no room: then name a
    store, `connect(url, store=...)`.

    Raises `ConfigError` unless 0 <= lo <= hi <= 2**63, and for a range of more than about 2**28 primes (count them,
    or list a part at a time); and what the cluster raises.
    """
    lo, hi = _checked(lo, hi)
    expected = (hi - lo) / math.log(max(hi, 3))
    if expected > LISTED:
        raise ConfigError(
            f"{lo} .. {hi} has about {expected:,.0f} primes, {8 * expected / 2**30:,.0f} GiB; "
            f"count them with count_primes, or list parts of up to {LISTED:,} primes"
        )
    first, last = lo // 30, -(-hi // 30)
    cuts = spans(last - first, _piece(hi))
    with Team(cluster, progress=progress) as team:
        out = team.blank((last - first,), np.dtype(np.uint8))
        done = team.round(sieve_in, cuts, first=first, out=out)
        bits = team.collect(out, [((a,), block) for (a, _), block in zip(cuts, done, strict=True)])
    from oche.kernels.sieve import numbers, trim

    trim(bits, first, lo, hi)
    return numbers(bits, first, [p for p in (2, 3, 5) if lo <= p < hi])


def _piece(hi: int) -> int:
    """Bytes of a piece: grows with the root, as the number of base primes does."""
    return min(max(PIECE, 2 * math.isqrt(hi)), LARGE_PIECE)


def _checked(lo: int, hi: int) -> tuple[int, int]:
    lo, hi = integer(lo), integer(hi)
    if not 0 <= lo <= hi <= MOST:
        raise ConfigError(f"primes of {lo} .. {hi} cannot be sieved; take 0 <= lo <= hi <= 2**63")
    return lo, hi
