"""Keys sorted per second: oche on all cores beside numpy.sort on one, and other ways. In one run, taking turns.

    python benchmarks/sort.py [--quick] [--rounds 3] [--only 1e6,1e8] [--json FILE]

Every way sorts the same array and returns a new one; seconds are from the call to the result, with all copying to the
workers and back. Each takes some turns in one process, and its best counts: the first touch of memory is slow on
virtual machines, and from its second turn on each way finds memory that is warm. Clusters and pools are started, and
kernels compiled, before any clock runs. Every result is compared with numpy's.

The bandwidth of memory is measured in the same run by copies of arrays of the largest size, in one process and in
as many as there are cores: whoever is not slowed down by that limit computes.
"""

from __future__ import annotations

import argparse
import functools
import heapq
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

import numpy as np

import machine
import oche
from oche.algorithms.sort import argsort, sort

Array = np.ndarray
SIZES = (10**6, 10**7, 10**8)
QUICK = (10**5, 10**6)
#: The naive way makes Python objects of all keys: beyond this it takes minutes.
NAIVE = 10**6
GOAL = 1.5  #: times numpy.sort on one core, for the largest random float64
SLOTS = len(os.sched_getaffinity(0))


def arrays(n: int) -> dict[str, Callable[[], Array]]:
    rng = np.random.default_rng(n)
    return {
        "float64 random": lambda: rng.random(n),
        "int64 random": lambda: rng.integers(-(2**63), 2**63 - 1, n),
        "float64 two values": lambda: rng.integers(0, 2, n).astype(float),
        "float64 all equal": lambda: np.full(n, 0.5),
    }


def naive(pool: Executor, a: Array) -> Array:
    """Chunks sorted by the pool, and merged by the standard library."""
    chunks = pool.map(np.sort, np.array_split(a, 4 * SLOTS))
    return np.fromiter(heapq.merge(*(chunk.tolist() for chunk in chunks)), a.dtype, a.size)


def ways(cluster: oche.Cluster, pool: Executor, n: int) -> dict[str, Callable[[Array], Array]]:
    found: dict[str, Callable[[Array], Array]] = {
        "numpy.sort": np.sort,
        "numpy.sort, stable": functools.partial(np.sort, kind="stable"),
        "oche, this process": sort,
        f"oche, local:, {SLOTS} slots": functools.partial(sort, cluster=cluster),
        f"oche, ProcessPoolExecutor({SLOTS})": functools.partial(sort, cluster=pool),
    }
    if n <= NAIVE:
        found["chunks, heapq.merge"] = functools.partial(naive, pool)
    return found


def ranks(cluster: oche.Cluster) -> dict[str, Callable[[Array], Array]]:
    return {
        "numpy.argsort": np.argsort,
        "numpy.argsort, stable": functools.partial(np.argsort, kind="stable"),
        f"oche.argsort, local:, {SLOTS} slots": functools.partial(argsort, cluster=cluster),
    }


def turns(contenders: dict[str, Callable[[Array], Array]], a: Array, wanted: Array, rounds: int) -> dict[str, float]:
    """Best seconds of each; a wrong result ends the program."""
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name, way in contenders.items():
            began = time.perf_counter()
            result = way(a)
            seconds = time.perf_counter() - began
            if not np.array_equal(a[result] if "argsort" in name else result, wanted):
                raise SystemExit(f"{name} does not sort {a.size} keys")
            del result
            best[name] = min(seconds, best.get(name, seconds))
    return best


def copied(n: int) -> float:
    """Bytes read and written in a second by copies of n float64, once the memory is warm."""
    source, target = np.ones(n), np.ones(n)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        target[:] = source
        seconds.append(time.perf_counter() - began)
    return 16 * n / min(seconds)


def show(kind: str, n: int, best: dict[str, float]) -> None:
    base = next(iter(best.values()))
    print(f"\n{n:,} {kind}")
    for name, seconds in best.items():
        print(f"  {name:36}{seconds:9.3f} s{n / seconds / 1e6:9.1f} M keys/s{base / seconds:8.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small arrays: to see that it works, not to quote")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way, at least 2")
    parser.add_argument("--only", default="", help="comma-separated lengths instead of 1e6,1e7,1e8")
    parser.add_argument("--json", metavar="FILE", help="write all figures there too")
    options = parser.parse_args()
    sizes = [int(float(n)) for n in options.only.split(",")] if options.only else QUICK if options.quick else SIZES
    rounds = max(2, options.rounds)
    print("\n".join([*machine.describe(), machine.versions(["numpy", "numba"]), f"oche {oche.__version__}"]))
    figures: dict[str, dict[str, float]] = {}
    spawn = multiprocessing.get_context("spawn")
    with oche.connect("local:") as cluster, ProcessPoolExecutor(SLOTS, mp_context=spawn) as pool:
        size = max(*sizes, 10**7)  # never in a cache
        alone, together = copied(size), sum(pool.map(copied, [size] * SLOTS))
        print(f"copies: {alone / 1e9:.1f} GB/s in one process, {together / 1e9:.1f} GB/s in {SLOTS}")
        warm = np.random.default_rng(0).random(4 * 10**6)
        for executor in (None, cluster, pool):
            sort(warm, cluster=executor)
            argsort(warm, cluster=executor)
        for n in sizes:
            for kind, make in arrays(n).items():
                a = make()
                wanted = np.sort(a)
                best = turns(ways(cluster, pool, n), a, wanted, rounds)
                show(kind, n, best)
                figures[f"{n} {kind}"] = best
            if n <= 10**7:
                a = arrays(n)["float64 random"]()
                best = turns(ranks(cluster), a, np.sort(a), rounds)
                show("float64 random, indices", n, best)
                figures[f"{n} float64 random, indices"] = best
    best = figures[f"{max(sizes)} float64 random"]
    ratio = best["numpy.sort"] / best[f"oche, local:, {SLOTS} slots"]
    verdict = "met" if ratio >= GOAL else "missed"
    print(f"\ngoal: {max(sizes):,} float64 at {GOAL} x numpy.sort on one core: {verdict} with {ratio:.2f} x")
    if options.json:
        found = {"copies": {"one": alone, "all": together}, "slots": SLOTS, "rounds": rounds, "seconds": figures}
        Path(options.json).write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
