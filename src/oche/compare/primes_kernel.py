"""The compiled search for divisors on a cluster, called off by one byte of shared memory: and what that byte costs."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass

from oche.algorithms.primality import is_prime
from oche.cluster.executor import Cluster
from oche.compare.primes_loops import NEAR, root, shares
from oche.sharing.flag_memory import MemoryFlag
from oche.wire.task import task

#: Further tries where a worker died.
CRASHES = 20
#: Products of two primes whose search the stop is measured in: of 63 bits, so that there is much left to stop.
TOP = 2**63
#: Their least factor: a search gets there in a millisecond or two, when all processes are at work.
LEAST = 2**22


@dataclass(frozen=True, slots=True)
class Search:
    """One process's share of a search."""

    divisor: int | None
    looks: int  #: at the byte
    began: float  #: by the machine's monotonic clock, which all processes share; in seconds
    ended: float


class _Counting:
    """A flag's byte that counts how often it was read, which takes some hundred nanoseconds every few milliseconds."""

    def __init__(self, flag: MemoryFlag) -> None:
        self._byte = flag.byte
        self.looks = 0

    def __getitem__(self, index: int, /) -> int:
        self.looks += 1
        return self._byte[index]


@task(crashes=CRASHES)
def search(n: int, lo: int, hi: int, flag: MemoryFlag | None) -> Search:
    """The smallest divisor of n from lo to hi - 1; sets the flag at one, and gives up when somebody else has."""
    from oche.kernels.divisors import find

    began = time.monotonic()
    if flag is None:
        return Search(find(n, lo, hi), 0, began, time.monotonic())
    byte = _Counting(flag)
    divisor = None
    try:
        divisor = find(n, lo, hi, byte)
        if divisor is not None:
            flag.set()
    except CancelledError:
        pass
    ended = time.monotonic()
    flag.close()
    return Search(divisor, byte.looks, began, ended)


def search_all(cluster: Cluster, n: int, processes: int, *, byte: bool) -> list[Search]:
    """The search for a divisor of n from `NEAR` on, a share for each process; with a byte, the first one ends it."""
    ranges = shares(NEAR, root(n), processes)
    if not byte:
        return list(cluster.starmap(search, [(n, lo, hi, None) for lo, hi in ranges], chunksize=1))
    # A flag of its own for each search: a late second copy of a share can set no flag that still means something.
    with MemoryFlag() as flag:
        return list(cluster.starmap(search, [(n, lo, hi, flag) for lo, hi in ranges], chunksize=1))


@task(crashes=CRASHES)
def cost(numbers: Sequence[int], runs: int) -> tuple[float, float]:
    """Seconds for all the candidates of these numbers in one process, without a byte and with one; the best of runs."""
    from oche.kernels.divisors import find

    plain = looked = math.inf
    with MemoryFlag() as flag:
        for turn in range(2 * runs):
            stop = flag.byte if turn % 2 else None
            began = time.perf_counter()
            for n in numbers:
                find(n, NEAR, root(n), stop)
            taken = time.perf_counter() - began
            if turn % 2:
                looked = min(looked, taken)
            else:
                plain = min(plain, taken)
    return plain, looked


def stops(cluster: Cluster, processes: int, runs: int, *, seed: int = 0) -> list[float]:
    """Seconds from a found factor to the end of the last other process that was searching; one for each search."""
    late = []
    for n in products(processes, runs, seed):
        found = search_all(cluster, n, processes, byte=True)
        then = min(share.ended for share in found if share.divisor is not None)
        late.append(max((share.ended - then for share in found if share.began < then), default=0.0))
    return late


def products(processes: int, count: int, seed: int) -> list[int]:
    """Numbers p q, with p somewhere in the first half of any share, so that the others are far from their ends."""
    chance = random.Random(seed)
    share = math.isqrt(TOP) // processes
    found = []
    for _ in range(count):
        lo = max(LEAST, share * chance.randrange(processes))
        p = _prime_from(chance.randrange(lo, lo + share // 2))
        found.append(p * _prime_from(TOP // p))
    return found


def _prime_from(n: int) -> int:
    return next(i for i in range(n, 2 * n) if is_prime(i))
