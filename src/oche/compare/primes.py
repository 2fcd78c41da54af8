"""Is it prime? One number and many processes, in every published way and in ours, side by side.

The rows take turns, run by run, so that what slows the machine for a while slows them all; the best run of each
counts. Processes are started before, and what they share is made before; every verdict is checked against a proof.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from oche.algorithms.factors import smallest_factor
from oche.algorithms.primality import is_prime
from oche.cluster.executor import Cluster
from oche.compare.crew import Crew
from oche.compare.primes_flags import open_flags
from oche.compare.primes_kernel import cost, search_all, stops
from oche.compare.primes_loops import EVERY, NEAR, near, plain, root, shares
from oche.compare.primes_rows import ROWS, Row
from oche.compare.table import Progress
from oche.engines.opening import connect
from oche.errors import ConfigError, OcheError
from oche.sharing.flag import Flag
from oche.worker.cores import usable_cores

#: The published ones: a small factor, two large ones, and two primes.
NUMBERS = (
    112272535095295, 100109100129100369, 100109100129101027, 100109100129100151, 100109100129162907,
)  # fmt: skip
RUNS = 20
#: Turns of the kernel without and with its byte: the difference is far below what one run is off.
COST_RUNS = 50
#: Searches that are stopped.
STOPS = 20
#: Candidates for a guess at how long all will take, and how many times more the kernel tries in a second.
TRIAL, KERNEL = 10**5, 500
#: Looks at a flag in another process that a search makes in a second.
ASKED = 20_000


@dataclass(frozen=True, kw_only=True)
class Number:
    """What is asked about."""

    n: int
    factor: int | None  #: the smallest; None for a prime
    place: float | None  #: how far into a process's share a factor from 21 on lies: 0 .. 1

    @property
    def near(self) -> bool:
        """Whether a factor is found before any process is asked."""
        return self.factor is not None and self.factor < NEAR


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One row and one number."""

    seconds: float  #: of the best run
    looks: int  #: at the flag, by all processes, in that run


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came of it."""

    processes: int
    runs: int
    numbers: Sequence[Number]
    timings: Mapping[str, Mapping[int, Timing]]  #: row -> number -> timing
    lacking: Mapping[str, str]  #: row -> why it is not there
    kernel_seconds: tuple[float, float] | None  #: all primes in one process: without the byte, and with it
    stops: Sequence[float]  #: seconds from a found factor to the end of the last process

    def seconds(self, row: str, numbers: Sequence[Number]) -> float | None:
        """Of these numbers together; None where there is nothing."""
        if row not in self.timings or not numbers:
            return None
        return sum(self.timings[row][number.n].seconds for number in numbers)

    @property
    def composites(self) -> list[Number]:
        """Those that take a search."""
        return [number for number in self.numbers if number.place is not None]

    @property
    def primes(self) -> list[Number]:
        return [number for number in self.numbers if number.factor is None]


def compare_primes(
    numbers: Sequence[int] = NUMBERS,
    *,
    rows: Sequence[Row] = ROWS,
    runs: int = RUNS,
    processes: int = 4,
    on_progress: Callable[[Progress], None] | None = None,
) -> Comparison:
    """Asks about each number `runs` times in each row's way, with this many processes.

    Raises `ConfigError` for what cannot be compared, `Unsupported` where there is no fork, `Crashed` if a process
    dies, `OcheError` if a row is wrong.
    """
    _check(numbers, rows, runs, processes)
    kinds = list(dict.fromkeys(row.flag for row in rows if row.flag))
    # Some flags are only had by fork, and forks come first, while this process has one thread; a cluster has more.
    with (
        open_flags(kinds) as (flags, lacking),
        Crew(processes, flags, method="fork") as crew,
        _cluster(processes) as cluster,
    ):
        asked = [_number(n, processes, cluster) for n in numbers]
        rows = [row for row in rows if row.flag not in lacking]
        bench = _Bench(crew, cluster, flags, processes)
        timings = _measure(bench, asked, rows, runs, on_progress)
        byte = any(row.name == "kernel-byte" for row in rows)
        primes = [number.n for number in asked if number.factor is None and number.n > NEAR * NEAR]
        return Comparison(
            processes=processes,
            runs=runs,
            numbers=asked,
            timings=timings,
            lacking={row.name: lacking[row.flag] for row in ROWS if row.flag in lacking},
            kernel_seconds=cluster.submit(cost, primes, COST_RUNS).result() if byte and primes else None,
            stops=stops(cluster, processes, STOPS) if byte and processes > 1 else [],
        )


@contextmanager
def _cluster(processes: int) -> Iterator[Cluster]:
    cluster = connect("local:", max_workers=processes)
    try:
        yield cluster
    except BaseException:
        cluster.shutdown(cancel_futures=True)
        raise
    cluster.shutdown()


@dataclass(frozen=True)
class _Bench:
    """All that is open while rows take turns."""

    crew: Crew
    cluster: Cluster
    flags: Mapping[str, Flag]
    processes: int

    def ask(self, row: Row, n: int) -> tuple[bool, int]:
        """Whether n is prime, the row's way; and how often its processes looked at the flag."""
        lo = NEAR if row.near else 3
        if near(n) if row.near else n % 2 == 0 and n > 2:
            return False, 0
        if root(n) <= lo:
            return True, 0
        if row.loop is None:
            if not row.pool:
                return is_prime(n), 0
            found = search_all(self.cluster, n, self.processes, byte=row.name == "kernel-byte")
            return all(share.divisor is None for share in found), sum(share.looks for share in found)
        if not row.pool:
            return row.loop(self.flags, n, lo, root(n), "")[0] is None, 0
        if row.flag:
            self.flags[row.flag].clear()
        answers = self.crew.each(row.loop, [(n, *part, row.flag) for part in shares(lo, root(n), self.processes)])
        return all(divisor is None for divisor, _ in answers), sum(looks for _, looks in answers)


def _measure(
    bench: _Bench, asked: Sequence[Number], rows: Sequence[Row], runs: int,
    on_progress: Callable[[Progress], None] | None,
) -> dict[str, dict[int, Timing]]:  # fmt: skip
    speed = _speed()
    guesses = {row.name: sum(_guess(row, number, bench.processes, speed) for number in asked) for row in rows}
    total, done = runs * sum(guesses.values()) or 1.0, 0.0
    timings: dict[str, dict[int, Timing]] = {row.name: {} for row in rows}
    for _ in range(runs):
        for row in rows:
            if on_progress is not None:
                on_progress(Progress(done=done / total, expected=total, row=row.name))
            for number in asked:
                timing = _time(bench, row, number)
                best = timings[row.name].get(number.n)
                if best is None or timing.seconds < best.seconds:
                    timings[row.name][number.n] = timing
            done += guesses[row.name]
    return timings


def _time(bench: _Bench, row: Row, number: Number) -> Timing:
    began = time.perf_counter()
    prime, looks = bench.ask(row, number.n)
    seconds = time.perf_counter() - began
    if prime != (number.factor is None):
        raise OcheError(f"{row.name} says that {number.n} is {'' if prime else 'not '}prime, which is wrong: a bug")
    return Timing(seconds=seconds, looks=looks)


def _number(n: int, processes: int, cluster: Cluster) -> Number:
    factor = None if is_prime(n) else smallest_factor(n, cluster=cluster)
    place = None
    if factor is not None and factor >= NEAR:
        lo, hi = next(part for part in shares(NEAR, root(n), processes) if factor < part[1])
        place = (factor - lo) / (hi - lo)
    return Number(n=n, factor=factor, place=place)


def _speed() -> float:
    """Candidates a second that one process tries in plain Python."""
    began = time.perf_counter()
    plain({}, NUMBERS[-1], NEAR, NEAR + 2 * TRIAL, "")
    return TRIAL / (time.perf_counter() - began)


def _guess(row: Row, number: Number, processes: int, speed: float) -> float:
    """Seconds that a run takes, roughly."""
    if (row.near and number.near) or (row.loop is None and not row.pool):
        return 1e-5
    candidates = root(number.n) / 2
    if row.loop is None:
        return candidates / speed / KERNEL
    if not row.pool:
        return (number.factor or root(number.n)) / 2 / speed
    ours = candidates * number.place if row.flag and number.place is not None else candidates
    asking = ours / EVERY / ASKED if row.flag in ("manager", "redis") else 0.0
    return asking + ours / speed / min(processes, usable_cores())


def _check(numbers: Sequence[int], rows: Sequence[Row], runs: int, processes: int) -> None:
    wrong = next((n for n in numbers if not 2 <= n < 2**64), None)
    if wrong is not None or not numbers:
        what = f"{wrong} is not compared" if numbers else "no number is given"
        raise ConfigError(f"{what}; take numbers from 2 to 2**64 - 1, such as {NUMBERS[0]}")
    if len(set(numbers)) < len(numbers):
        raise ConfigError(f"a number is given twice: {', '.join(map(str, numbers))}; name each once")
    if runs < 1 or processes < 1 or not rows:
        raise ConfigError(f"{len(rows)} rows, {runs} runs, {processes} processes: take 1 or more of each")
