"""Primes counted, and factors sought: beside primesieve, the book's loop and the ideal. In one run, taking turns.

    python benchmarks/primes.py [--rounds 5] [--quick] [--json FILE]

Each way takes its turn in every round, and its best round counts: others only ever slow it down, and memory that is
touched for the first time is slow for whoever comes first. The book's loop divides by every odd number up to the root;
it would take seconds to minutes, so a stretch of it is timed and the rest reckoned in proportion.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import oche
from oche.algorithms.factors import find_factor, smallest_factor
from oche.algorithms.primes import count_primes
from oche.kernels.divisors import find
from oche.kernels.sieve import count

PRIMES = (100109100129100151, 100109100129162907)
COMPOSITES = {100109100129100369: 95362951, 100109100129101027: 171656941}
LARGEST = 2**64 - 59  #: the largest prime below 2**64: the longest search there is
COUNTS = {10**9: 50_847_534, 10**10: 455_052_511}
SAMPLE = 4 * 10**6  #: divisions of the book's loop that are timed
LEAST = 11  #: candidates begin here: 2, 3, 5 and 7 are divided out before


def book(n: int, lo: int, hi: int) -> bool:
    """The serial loop as books on parallel Python print it, for a stretch of the odd numbers."""
    for i in range(lo, hi, 2):  # noqa: SIM110
        if n % i == 0:
            return False
    return True


def best(ways: dict[str, tuple[Callable[[], Any], Any]], rounds: int) -> dict[str, float]:
    """By name: the fewest seconds of a call, whose answer must be the one given."""
    seconds = dict.fromkeys(ways, math.inf)
    for _ in range(max(2, rounds)):
        for name, (call, wanted) in ways.items():
            began = time.perf_counter()
            found = call()
            seconds[name] = min(seconds[name], time.perf_counter() - began)
            if found != wanted:
                raise SystemExit(f"{name}: {found} instead of {wanted}")
    return seconds


def counting(n: int, rounds: int, one: oche.Cluster, two: oche.Cluster) -> dict[str, float]:
    """Seconds to count the primes below n."""
    ways: dict[str, tuple[Callable[[], Any], Any]] = {
        "oche, the kernel, one thread": (lambda: count(0, n), COUNTS[n]),
        "oche, local:, one slot": (lambda: count_primes(0, n, cluster=one), COUNTS[n]),
        "oche, local:, two slots": (lambda: count_primes(0, n, cluster=two), COUNTS[n]),
    }
    try:
        import primesieve
    except ImportError:
        print("primesieve is not installed: pip install primesieve (it needs libprimesieve-dev)")
    else:
        primesieve.set_num_threads(1)
        ways["primesieve, one thread"] = (lambda: primesieve.count_primes(n), COUNTS[n])
    return best(ways, rounds)


def searching(rounds: int, one: oche.Cluster, two: oche.Cluster) -> dict[str, dict[str, float]]:
    """Seconds to try all candidates up to the root of a prime."""
    found = {}
    for n in (*PRIMES, LARGEST):
        root = math.isqrt(n)
        ways: dict[str, tuple[Callable[[], Any], Any]] = {
            "kernel, one thread": (lambda n=n, root=root: find(n, LEAST, root + 1), None),
            "one slot": (lambda n=n, root=root: find_factor(n, LEAST, root + 1, cluster=one), None),
            "two slots": (lambda n=n, root=root: find_factor(n, LEAST, root + 1, cluster=two), None),
            "the book's loop": (lambda n=n, root=root: book(n, root // 2 | 1, (root // 2 | 1) + 2 * SAMPLE), True),
        }
        found[str(n)] = best(ways, rounds)
        found[str(n)]["the book's loop"] *= root / 2 / SAMPLE
    return found


def exiting(rounds: int, two: oche.Cluster, whole: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Seconds to the smallest factor with two slots, and what it would be if nothing but the search took time."""
    ways: dict[str, tuple[Callable[[], Any], Any]] = {
        str(n): (lambda n=n: smallest_factor(n, cluster=two), factor) for n, factor in COMPOSITES.items()
    }
    kernel = whole[str(PRIMES[0])]["kernel, one thread"]  # its root is theirs, but for parts in a million
    found = {}
    for name, seconds in best(ways, 2 * rounds).items():
        ideal = kernel * COMPOSITES[int(name)] / math.isqrt(int(name)) / 2
        found[name] = {"two slots": seconds, "ideal": ideal, "overhead": seconds - ideal}
    return found


def show(title: str, rows: dict[str, float], unit: float = 1.0, name: str = "s") -> None:
    print(f"\n{title}")
    for row, seconds in rows.items():
        print(f"  {row:32}{seconds * unit:14,.3f} {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="each way takes this many turns, two or more")
    parser.add_argument("--quick", action="store_true", help="shorter: to see that it works, not to quote")
    parser.add_argument("--json", metavar="FILE", help="write all figures there too")
    options = parser.parse_args()
    rounds, n = (2, 10**9) if options.quick else (options.rounds, 10**10)
    about = [*machine.describe(), machine.versions(["numpy", "numba"])]
    print("\n".join(about))
    with oche.connect("local:", max_workers=1) as one, oche.connect("local:", max_workers=2) as two:
        counts = counting(n, rounds, one, two)
        searches = searching(rounds, one, two)
        exits = exiting(rounds, two, searches)
    show(f"primes below {n:,}", counts)
    for number, rows in searches.items():
        show(f"all candidates up to the root of the prime {number}", rows, 1e3, "ms")
    for number, rows in exits.items():
        show(f"the smallest factor of {number}", rows, 1e3, "ms")
    kernel = counts["oche, the kernel, one thread"]
    ratios = {"two slots to one, counting": counts["oche, local:, one slot"] / counts["oche, local:, two slots"]}
    if "primesieve, one thread" in counts:
        ratios["kernel to primesieve, speed"] = counts["primesieve, one thread"] / kernel
        ratios["a slot to primesieve, speed"] = counts["primesieve, one thread"] / counts["oche, local:, one slot"]
    for number, rows in searches.items():
        ratios[f"two slots to one, {number}"] = rows["one slot"] / rows["two slots"]
        ratios[f"kernel to the book's loop, {number}"] = rows["the book's loop"] / rows["kernel, one thread"]
    print("\nratios")
    for row, ratio in ratios.items():
        print(f"  {row:60}{ratio:10,.2f}")
    if options.json:
        everything = {"machine": about, "counts": counts, "searches": searches, "exits": exits, "ratios": ratios}
        Path(options.json).write_text(json.dumps(everything, indent=2))


if __name__ == "__main__":
    main()
