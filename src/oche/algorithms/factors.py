"""One number, many CPUs: the search for its factors, called off everywhere as soon as one is found.

A composite has a factor up to its root. The candidates are cut into pieces, workers try theirs, and an answer calls
off what lies above it (`Cluster.first`); what lies below is finished first, so that the smallest factor comes out
whoever was faster. Whether there is anything to be found is known before, by `is_prime`.
"""

from __future__ import annotations

import functools
import math
from concurrent.futures import Executor

from oche.algorithms.primality import integer, is_prime
from oche.algorithms.team import CRASHES, Team
from oche.errors import ConfigError
from oche.wire.task import task
from oche.worker.context import stop_byte

#: Below this factors are looked for here, before anybody is asked: 0.2 ms.
NEAR = 2**12
#: Numbers that are handed out together: 0.05 ms for a worker, so that the cut costs nothing and misses nothing.
STEP = 2**20
#: Steps of a piece where the executor does not cut the range itself, below and from 2**64 on: 10 to 30 ms.
PIECE, WIDE_PIECE = 2**8, 2
#: Where a search ends, as ranges have a length in Python; it takes centuries to get there.
FARTHEST = 2**63


@task(crashes=CRASHES)
def factor_in(first: int, last: int, *, n: int, lo: int, hi: int) -> int | None:
    """The smallest divisor of n in steps first .. last - 1, as far as they are in lo .. hi - 1."""
    from oche.kernels.divisors import find  # here, so that a client that only asks never loads a compiler

    return find(n, max(lo, first * STEP), min(hi, last * STEP), stop_byte())


def find_factor(n: int, lo: int, hi: int, *, cluster: Executor | None = None, progress: bool = False) -> int | None:
    """The smallest divisor d of n with lo <= d < hi, or None: all are tried, also if n is prime.

    n has no factor 2, 3, 5 or 7; 2 <= lo <= hi <= isqrt(n) + 1. Raises `ConfigError` for others, and what the
    cluster raises.
    """
    n, lo, hi = integer(n), integer(lo), integer(hi)
    if n < 1 or math.gcd(n, 210) > 1:
        raise ConfigError(f"n = {n} has a factor 2, 3, 5 or 7, or is below 1; divide it out, or call prime_factors")
    if not 2 <= lo <= hi <= math.isqrt(n) + 1:
        raise ConfigError(f"no divisors of {n} are sought in {lo} .. {hi}; take 2 <= lo <= hi <= {math.isqrt(n) + 1}")
    with Team(cluster, progress=progress) as team:
        return _find(team, n, lo, hi)


def smallest_factor(n: int, *, cluster: Executor | None = None, progress: bool = False) -> int:
    """The smallest prime factor of n >= 2: n itself if that is prime.

    Answers at once if n is prime or has a factor below 4096. Else the cluster tries all candidates up to the factor:
    at most isqrt(n), 2**32 for n = 2**64, a fifth of a second of one core. Beyond 2**64 a core tries some 80 million
    numbers a second, so a product of two large primes may take for ever: `progress=True` shows it.

    Raises `ConfigError` for another n, and what the cluster raises.
    """
    n = integer(n)
    if n < 2:
        raise ConfigError(f"{n} has no prime factors; take 2 or more")
    with Team(cluster, progress=progress) as team:
        return _smallest(team, n, 2)


def prime_factors(n: int, *, cluster: Executor | None = None, progress: bool = False) -> list[int]:
    """The prime factors of n >= 1, ascending, each as often as it divides n. Otherwise as `smallest_factor`.

    Small factors are divided out here, and the search ends as soon as what remains is prime.
    """
    rest, factor = integer(n), 2
    if rest < 1:
        raise ConfigError(f"{rest} has no prime factors; take 1 or more")
    factors = []
    with Team(cluster, progress=progress) as team:
        while rest > 1:
            factor = _smallest(team, rest, factor)
            factors.append(factor)
            rest //= factor
    return factors


def _smallest(team: Team, n: int, lo: int) -> int:
    """The smallest factor of n >= 2, which has none below lo."""
    if lo < NEAR:
        near = next((d for d in range(2, NEAR) if n % d == 0), None)
        if near is not None:
            return near
    if is_prime(n):
        return n
    found = _find(team, n, max(lo, NEAR), min(math.isqrt(n) + 1, FARTHEST))
    assert found is not None, n  # a composite has a factor up to its root; and nobody sees the farthest
    return found


def _find(team: Team, n: int, lo: int, hi: int) -> int | None:
    steps = range(lo // STEP, -(-hi // STEP))
    return team.first(functools.partial(factor_in, n=n, lo=lo, hi=hi), steps, PIECE if n < 2**64 else WIDE_PIECE)
