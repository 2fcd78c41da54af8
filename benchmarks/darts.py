"""Darts per second on one core: the kernel, blocked numpy, and the loop from the book. In one run, taking turns.

    python benchmarks/darts.py [--rounds 7] [--json]

Each way throws for about a tenth of a second a round; the best of all rounds counts, as others only ever slow it down.
Caveat: only the kernel's darts are the same on every machine; numpy's generators are as fast as numpy makes them, and
one that needs no 64-bit floats may take float32 ("sfc64, float32" below).
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from oche.kernels.darts import count

BLOCK = 2**14  #: darts a block of numpy: two arrays of 128 KiB, which stay in the second-level cache
GOALS = {"blocked numpy": 6.0, "the book's loop": 300.0}


def book(n: int) -> int:
    """The loop as the books on Parallel Python print it: two uniform numbers a dart, and a truth added up."""
    inside = 0
    for _ in range(n):
        x = random.uniform(0, 1)
        y = random.uniform(0, 1)
        inside += x * x + y * y <= 1.0
    return inside


def brisk(n: int) -> int:
    """About the fastest that a plain loop gets."""
    inside, throw = 0, random.random
    for _ in range(n):
        x, y = throw(), throw()
        if x * x + y * y < 1.0:
            inside += 1
    return inside


def blocked(generator: np.random.Generator, dtype: type[np.float32] | type[np.float64]) -> Callable[[int], int]:
    """Blocks that fit the cache, and no array made inside of the loop."""
    x, y, hit = np.empty(BLOCK, dtype), np.empty(BLOCK, dtype), np.empty(BLOCK, bool)

    def throw(n: int) -> int:
        inside = 0
        for _ in range(n // BLOCK):
            generator.random(out=x, dtype=dtype)
            generator.random(out=y, dtype=dtype)
            np.multiply(x, x, out=x)
            np.multiply(y, y, out=y)
            np.add(x, y, out=x)
            np.less(x, 1.0, out=hit)
            inside += int(np.count_nonzero(hit))
        return inside

    return throw


def ways() -> dict[str, tuple[Callable[[int], int], int]]:
    """By name: what throws n darts, and n for about a tenth of a second."""
    rng = np.random
    return {
        "oche kernel": (lambda n: count(0, n, 0), 2**27),
        "numpy philox, float64": (blocked(rng.Generator(rng.Philox(0)), np.float64), 2**22),
        "numpy sfc64, float64": (blocked(rng.Generator(rng.SFC64(0)), np.float64), 2**23),
        "numpy sfc64, float32": (blocked(rng.Generator(rng.SFC64(0)), np.float32), 2**23),
        "a brisk Python loop": (brisk, 2**19),
        "the book's loop": (book, 2**18),
    }


def measure(rounds: int) -> dict[str, float]:
    """Best darts per second of each way."""
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name, (throw, n) in ways().items():
            began = time.perf_counter()
            inside = throw(n)
            rate = n / (time.perf_counter() - began)
            if abs(4 * inside / n - math.pi) > 6 * 1.65 / math.sqrt(n):
                raise SystemExit(f"{name} does not find pi: {inside} of {n}")
            best[name] = max(rate, best.get(name, 0.0))
    return best


def first_job() -> float:
    """Seconds from nothing to the first count in a new process with compiled code at hand, less Python's own start."""
    load = "from oche.kernels.darts import count; count(0, 9, 0)"
    code = f"import time; began = time.perf_counter(); {load}; print(time.perf_counter() - began)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    return min(float(run.stdout) for run in runs)


def machine() -> dict[str, str]:
    cpu = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line), cpu)
    found = {"cpu": cpu, "system": platform.platform(), "python": platform.python_version()}
    return found | {name: version(name) for name in ("numpy", "numba", "llvmlite")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="each way takes this many turns")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    rates = measure(options.rounds)
    kernel = rates["oche kernel"]
    ratios = {name: kernel / rate for name, rate in rates.items()}
    start = first_job()
    if options.json:
        found = {"machine": machine(), "darts_per_second": rates, "kernel_is_faster_by": ratios, "first_job": start}
        print(json.dumps(found, indent=2))
        return
    print("  ".join(f"{key} {value}" for key, value in machine().items()))
    print(f"{'':24}{'million darts/s':>18}{'kernel is faster':>20}")
    for name, rate in rates.items():
        print(f"{name:24}{rate / 1e6:18,.1f}{ratios[name]:18,.1f} x")
    print(f"import, load and first count in a new process: {start:.2f} s")
    numpy_goal = min(ratio for name, ratio in ratios.items() if name.startswith("numpy"))
    for what, ratio in (("blocked numpy", numpy_goal), ("the book's loop", ratios["the book's loop"])):
        print(f"goal: {GOALS[what]:g} x {what}: {'met' if ratio >= GOALS[what] else 'missed'} with {ratio:,.1f} x")


if __name__ == "__main__":
    main()
