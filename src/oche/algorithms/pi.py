"""Pi by darts: the exact same count on every engine, for any number of workers, through any faults.

Dart i of a seed lands where (seed, i) says, whoever throws it; so the count is a sum of integers over pieces of
0 .. n - 1, and how the range was cut, lost, retried or thrown twice leaves no trace in it.
"""

from __future__ import annotations

import functools
import math
import operator
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from oche.errors import ConfigError
from oche.kernels.philox import key_of
from oche.wire.task import task
from oche.worker.context import stop_byte

#: Darts a piece where the executor does not cut the range itself: a tenth of a second.
PIECE = 10**8
#: Pieces handed to such an executor and not yet added up.
OUTSTANDING = 256
#: As many darts as there are: the length of a range in Python ends here.
MOST = 2**63 - 1
#: Standard deviations on either side that hold 95 % of the normal distribution.
Z95 = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class PiResult:
    """What came of n darts. `n`, `seed` and `inside` are exact, and the same on every engine; the rest follows."""

    n: int
    seed: int
    inside: int
    seconds: float  #: wall-clock, with all starting up

    @property
    def estimate(self) -> float:
        """4 * inside / n."""
        return 4 * self.inside / self.n

    @property
    def standard_error(self) -> float:
        """Standard deviation of the estimate, by its own p = inside / n; 0 where all darts agree."""
        return 4 * math.sqrt(self.inside * (self.n - self.inside) / self.n) / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Low and high end of Wilson's 95 % confidence interval.

        It equals the usual estimate +- 1.96 standard errors for many darts, and unlike that it is right for few: it
        stays within 0 .. 4, and does not shrink to a point when all darts are inside.
        """
        p, shift = self.inside / self.n, Z95 * Z95 / self.n
        middle = p + shift / 2
        half = math.sqrt(shift * (p * (1 - p) + shift / 4))
        return max(0.0, 4 * (middle - half) / (1 + shift)), min(4.0, 4 * (middle + half) / (1 + shift))

    @property
    def error(self) -> float:
        """estimate - pi."""
        return self.estimate - math.pi

    @property
    def contains_pi(self) -> bool:
        """Whether pi is in the interval: for 95 of 100 seeds it is."""
        low, high = self.interval
        return low <= math.pi <= high

    @property
    def darts_per_second(self) -> float:
        return self.n / self.seconds if self.seconds > 0 else math.inf

    def __str__(self) -> str:
        low, high = self.interval
        digits = min(15, max(2, math.ceil(math.log10(self.n) / 2) + 2))  # two digits of the error are seen
        verdict = "holds pi" if self.contains_pi else "misses pi, as 1 in 20 does"
        return (
            f"pi = {self.estimate:.{digits}f}, standard error {self.standard_error:.1e}, error {self.error:+.1e}\n"
            f"95 % interval {low:.{digits}f} to {high:.{digits}f} {verdict}\n"
            f"{self.inside:,} of {self.n:,} darts inside (seed {self.seed})\n"
            f"{self.seconds:.2f} s, {self.darts_per_second / 1e6:,.1f} million darts/s"
        )


@task(crashes=20)
def darts_in(lo: int, hi: int, *, seed: int) -> int:
    """How many of the darts lo .. hi - 1 of this seed are inside the quarter circle."""
    from oche.kernels.darts import count  # here, so that a client that only sends pieces never loads a compiler

    return count(lo, hi, seed, stop_byte())


def pi(
    n: int | float | str,
    *,
    seed: int = 0,
    cluster: Executor | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> PiResult:
    """Throws n darts: on the cluster, on any other executor, or in this process if there is neither.

    `n` is 1 to 2**63 - 1, also as "1e15" or 1e15; `seed` 0 to 2**64 - 1. `on_progress(darts, inside)` is told here
    what is known of the first `darts` darts, each time they have grown. Raises `ConfigError` for another n or seed,
    and what the cluster raises.
    """
    darts = _darts(n)
    key_of(seed)  # refuses a wrong seed before anything is sent
    report = on_progress if on_progress is not None else _ignore
    began = time.perf_counter()
    throw = functools.partial(darts_in, seed=seed)
    reduce = getattr(cluster, "reduce", None)
    if reduce is not None:
        inside = reduce(throw, range(darts), operator.add, on_part=report)
    elif cluster is not None:
        inside = _sum(_submitted(cluster, throw, darts), report)
    else:
        inside = _sum(((hi, throw(lo, hi)) for lo, hi in _pieces(darts)), report)
    return PiResult(n=darts, seed=seed, inside=inside, seconds=time.perf_counter() - began)


def _darts(n: int | float | str) -> int:
    try:
        exact = Decimal(n if isinstance(n, (float, str)) else operator.index(n))
    except (InvalidOperation, TypeError, ValueError) as error:
        raise ConfigError(f"n = {n!r} is not a number of darts; take a whole number, such as 10**9 or '1e9'") from error
    # The bounds come first: nobody wants all the digits of 1e999999999.
    if not (exact.is_finite() and 1 <= exact <= MOST and exact == int(exact)):
        raise ConfigError(f"n = {n!r} darts cannot be thrown; take a whole number from 1 to 2**63 - 1")
    return int(exact)


def _pieces(n: int) -> Iterator[tuple[int, int]]:
    return ((lo, min(lo + PIECE, n)) for lo in range(0, n, PIECE))


def _submitted(cluster: Executor, throw: Callable[[int, int], int], n: int) -> Iterator[tuple[int, int]]:
    """Each piece's end and count, in order, with a bounded number of pieces under way."""
    waiting: deque[tuple[int, Future[int]]] = deque()
    try:
        for lo, hi in _pieces(n):
            if len(waiting) == OUTSTANDING:
                end, future = waiting.popleft()
                yield end, future.result()
            waiting.append((hi, cluster.submit(throw, lo, hi)))
        while waiting:
            end, future = waiting.popleft()
            yield end, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


def _sum(parts: Iterator[tuple[int, int]], report: Callable[[int, int], None]) -> int:
    inside = 0
    for end, part in parts:
        inside += part
        report(end, inside)
    return inside


def _ignore(_darts: int, _inside: int) -> None:
    """Progress that nobody asked for."""
