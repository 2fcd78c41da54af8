"""One machine: what a look at a flag costs, a lock, a count, and a large array filled with random numbers; and the
three comparisons with what was published (`oche compare`). In one run, with the goals at its end.

    python benchmarks/sharing.py [--quick] [--runs N] [--json]          # 15 minutes; --quick: one

Everything is done several times in turn and the best counts: others only ever slow it down, and memory that is touched
for the first time is slow for whoever touches it. Redis is a real server, started here on a free port; without one its
row is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

import oche
from machine import describe
from oche.algorithms.fill import fill_random
from oche.cli.output import json_text
from oche.compare import arrays_report, counters_report, primes_report
from oche.compare.arrays import compare_arrays
from oche.compare.counters import compare_counters
from oche.compare.primes import NUMBERS, compare_primes
from oche.compare.table import Goal
from oche.servers.redis import Redis
from oche.sharing.arrays import SharedArray
from oche.sharing.counter import Counter
from oche.sharing.flag import Flag
from oche.sharing.flag_file import FileFlag
from oche.sharing.flag_manager import ManagerFlag
from oche.sharing.flag_memory import MemoryFlag
from oche.sharing.flag_mmap import MmapFlag
from oche.sharing.flag_raw_value import RawValueFlag
from oche.sharing.flag_redis import RedisFlag
from oche.sharing.flag_shared_memory import SharedMemoryFlag
from oche.sharing.locks import FileLock, Lock

#: Times that the fill on two processes should beat numpy alone.
GOAL = 1.9


def best(work: Callable[[int], object], times: int, rounds: int) -> float:
    """Seconds for one of `times` that `work` does in a go."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        work(times)
        seconds.append(time.perf_counter() - began)
    return min(seconds) / times


@contextlib.contextmanager
def flags(folder: Path) -> Iterator[dict[str, tuple[Flag, int]]]:
    """By kind: a flag, and how many looks take some hundredths of a second."""
    with contextlib.ExitStack() as stack:
        made: dict[str, tuple[Flag, int]] = {}
        for kind in (MemoryFlag, MmapFlag, SharedMemoryFlag, RawValueFlag):
            made[kind.__name__] = (stack.enter_context(kind()), 300_000)
        made["FileFlag"] = (stack.enter_context(FileFlag(folder / "flag")), 50_000)
        made["ManagerFlag"] = (stack.enter_context(ManagerFlag()), 500)
        if shutil.which("redis-server"):
            made["RedisFlag"] = (stack.enter_context(RedisFlag(stack.enter_context(Redis()).url)), 500)
        yield made


def looks(rounds: int) -> dict[str, float]:
    """Nanoseconds a look at each kind of flag."""

    def look(flag: Flag) -> Callable[[int], None]:
        def work(times: int) -> None:
            is_set = flag.is_set
            for _ in range(times):
                is_set()

        return work

    with tempfile.TemporaryDirectory() as folder, flags(Path(folder)) as made:
        return {name: 1e9 * best(look(flag), times, rounds) for name, (flag, times) in made.items()}


def counts(rounds: int) -> dict[str, float]:
    """Nanoseconds for a count or for taking a lock and giving it back, with nobody else there."""

    def locked(lock: object) -> Callable[[int], None]:
        def work(times: int) -> None:
            for _ in range(times):
                with lock:  # type: ignore[attr-defined]
                    pass

        return work

    def add(times: int) -> None:
        for _ in range(times):
            counter.add()

    found = {}
    with tempfile.TemporaryDirectory() as folder, Counter() as counter:
        found["Counter.add"] = 1e9 * best(add, 50_000, rounds)
        locks = {
            "Lock": Lock(),
            "FileLock": FileLock(Path(folder) / "lock"),
            "multiprocessing.Lock": multiprocessing.Lock(),
        }
        for name, lock in locks.items():
            found[name] = 1e9 * best(locked(lock), 2000, rounds)
    return found


def fills(n: int, rounds: int) -> dict[str, float]:
    """Seconds to fill n float64 with the same numbers."""
    theirs = np.empty(n)
    with SharedArray.create(n) as shared, oche.connect("local:", max_workers=2) as cluster:
        ways: dict[str, Callable[[], object]] = {
            "numpy, one process": lambda: np.random.Generator(np.random.Philox(1)).random(out=theirs),
            "fill_random, one process": lambda: fill_random(shared, 1),
            "fill_random, two processes": lambda: fill_random(shared, 1, cluster=cluster),
        }
        found = {name: float("inf") for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                shared.array[:: 4096 // 8] = 2
                began = time.perf_counter()
                way()
                found[name] = min(found[name], time.perf_counter() - began)
                if not name.startswith("numpy") and not np.array_equal(shared.array, theirs):
                    raise SystemExit(f"{name} made other numbers than numpy")
    return found


#: Numbers of the published shapes, for a quick look.
SMALL = (5 * 2_000_003, 1_000_003 * 1_000_033, 1_000_003 * 1_200_007, 1_000_000_000_039, 1_000_000_000_061)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="less of everything: to see that it works")
    parser.add_argument("--runs", type=int, default=3, help="of the prime comparison, where each takes some minutes")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    rounds, n = (2, 4_000_000) if options.quick else (7, 100_000_000)
    numbers, shape, processes = (SMALL, (400, 80_000), 2) if options.quick else (NUMBERS, None, options.processes)
    machine = [*describe(), f"numpy {version('numpy')}, numba {version('numba')}, on {platform.machine()}"]
    if not options.json:
        print(*machine, sep="\n", flush=True)
    primes = compare_primes(numbers, runs=options.runs, processes=processes)  # first: it forks
    arrays = compare_arrays(shape, processes=processes)
    counters = compare_counters(4, 100 if options.quick else 1000)
    found = {"flags": looks(rounds), "counts": counts(rounds), "fills": fills(n, rounds)}
    alone = found["fills"]["numpy, one process"]
    ratio = alone / found["fills"]["fill_random, two processes"]
    goals = [
        *primes_report.goals(primes),
        *arrays_report.goals(arrays)[:2],
        *counters_report.goals(counters),
        Goal(f"fill_random on two processes is {GOAL} times as fast as numpy: {ratio:.2f}", ratio >= GOAL),
    ]
    if options.json:
        compared = {
            "primes": primes_report.plain(primes),
            "arrays": arrays_report.plain(arrays),
            "counters": counters_report.plain(counters),
        }
        print(json_text({"machine": machine, **found, **compared, "goals": goals}))
        return
    for table in (primes_report.table(primes), *arrays_report.tables(arrays), counters_report.table(counters)):
        print(f"\n{table}")
    for title, unit in (("flags", "ns a look"), ("counts", "ns each")):
        print(f"\n{title:30}{unit:>12}")
        for name, value in found[title].items():
            print(f"{name:30}{value:12,.0f}")
    print(f"\n{f'{n:,} float64':30}{'s':>12}{'numpy takes':>14}")
    for name, seconds in found["fills"].items():
        print(f"{name:30}{seconds:12.3f}{alone / seconds:12.2f} x")
    print("\ngoals", *goals, sep="\n")


if __name__ == "__main__":
    main()
