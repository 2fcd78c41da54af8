"""Points per second of Monte Carlo integration, beside numpy alone: in one run, taking turns, the best of each counts.

    python benchmarks/integrate.py [--rounds 5] [--points 2e7] [--quick] [--json]

Each way estimates the same integral with the same number of points, and gives mean and standard error. "numpy" is the
usual loop over blocks, here with memory of its own that it uses again, and with blocks of the size that oche takes;
"numpy, all at once" is the line that is usually written. Figures are wall-clock; no process or memory is new after the
first round.
Caveat: numpy's own generators do not give a point by its number; Philox is the one that could.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable

import numpy as np

import oche
from machine import describe, versions
from oche.algorithms.integrate import POINTS, integrate
from oche.kernels.uniforms import room_for, uniforms

Answer = tuple[float, float]
Function = Callable[[np.ndarray], np.ndarray]


def bell(x: np.ndarray) -> np.ndarray:
    """exp(-x^2) in one dimension."""
    return np.exp(-np.square(x[:, 0]))


def product(x: np.ndarray) -> np.ndarray:
    """x^2 y: as little work as a function has."""
    return x[:, 0] * x[:, 0] * x[:, 1]


def ball(x: np.ndarray) -> np.ndarray:
    """Whether a point is in the unit ball."""
    return np.square(x).sum(axis=1) < 1


#: By name: the function, its dimensions, and the integral over the unit cube.
INTEGRALS: dict[str, tuple[Function, int, float]] = {
    "exp(-x^2), d = 1": (bell, 1, math.sqrt(math.pi) / 2 * math.erf(1)),
    "x^2 y, d = 2": (product, 2, 1 / 6),
    "ball, d = 3": (ball, 3, math.pi / 6),
    "ball, d = 10": (ball, 10, math.pi**5 / 120 / 2**10),
}


def blocked(generator: np.random.Generator, d: int) -> Callable[[Function, int], Answer]:
    """Sums of values and squares over blocks; the points are drawn into one array over and over."""
    x = np.empty((POINTS, d))

    def estimate(f: Function, n: int) -> Answer:
        total = squares = 0.0
        for lo in range(0, n, POINTS):
            part = x[: min(POINTS, n - lo)]
            generator.random(out=part)
            y = np.asarray(f(part), float)
            total += float(y.sum())
            squares += float(np.square(y).sum())
        return total / n, math.sqrt((squares / n - (total / n) ** 2) / n)

    return estimate


def at_once(f: Function, n: int, d: int) -> Answer:
    """One array of all points."""
    y = f(np.random.default_rng(0).random((n, d)))
    return float(y.mean()), float(y.std()) / math.sqrt(n)


def ours(f: Function, n: int, d: int, cluster: oche.Cluster | None) -> Answer:
    found = integrate(f, [(0, 1)] * d, n, cluster=cluster)
    return found.value, found.standard_error


def ways(f: Function, d: int, n: int, cluster: oche.Cluster) -> dict[str, Callable[[], Answer]]:
    """By name: what estimates the integral with n points."""
    usual = blocked(np.random.default_rng(0), d)
    philox = blocked(np.random.Generator(np.random.Philox(0)), d)
    return {
        "oche, one core": lambda: ours(f, n, d, None),
        f"oche, {cluster.slots} slots": lambda: ours(f, n, d, cluster),
        "numpy default_rng": lambda: usual(f, n),
        "numpy Philox": lambda: philox(f, n),
        "numpy, all at once": lambda: at_once(f, n, d),
    }


def measure(name: str, n: int, rounds: int, cluster: oche.Cluster) -> dict[str, float]:
    """Best points per second of each way."""
    f, d, truth = INTEGRALS[name]
    best: dict[str, float] = {}
    for _ in range(rounds):
        for way, estimate in ways(f, d, n, cluster).items():
            began = time.perf_counter()
            value, error = estimate()
            rate = n / (time.perf_counter() - began)
            if abs(value - truth) > 6 * error:
                raise SystemExit(f"{way} does not find {name}: {value} +- {error} for {truth}")
            best[way] = max(rate, best.get(way, 0.0))
    return best


def coordinates(rounds: int) -> dict[str, float]:
    """Best coordinates per second of the points alone, in two dimensions."""
    n, best = 2**20, {"oche kernel": 0.0, "numpy default_rng": 0.0, "numpy Philox": 0.0}
    room, x = np.empty(room_for(POINTS, 2)), np.empty((POINTS, 2))
    box = [(0.0, 1.0)] * 2
    usual, philox = np.random.default_rng(0), np.random.Generator(np.random.Philox(0))
    draw: dict[str, Callable[[int], object]] = {
        "oche kernel": lambda lo: uniforms(lo, lo + POINTS, 0, box, room),
        "numpy default_rng": lambda lo: usual.random(out=x),
        "numpy Philox": lambda lo: philox.random(out=x),
    }
    for _ in range(max(2, rounds)):
        for way, block in draw.items():
            began = time.perf_counter()
            for lo in range(0, n, POINTS):
                block(lo)
            best[way] = max(best[way], 2 * n / (time.perf_counter() - began))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="each way takes this many turns; two or more")
    parser.add_argument("--points", type=float, default=2e7)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="few points and two rounds: to see that it works")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    rounds, n = (2, 10**6) if options.quick else (max(2, options.rounds), int(options.points))
    about = [*describe(), versions(["numpy", "numba", "llvmlite"])]
    with oche.connect("local:", max_workers=options.slots) as cluster:
        found = {name: measure(name, n, rounds, cluster) for name in INTEGRALS}
    alone = coordinates(rounds)
    if options.json:
        print(json.dumps({"machine": about, "points": n, "per_second": found, "coordinates": alone}, indent=2))
        return
    print("\n".join(about))
    for name, rates in [*found.items(), ("points alone, d = 2, by coordinates", alone)]:
        print(f"\n{name:36}{'million/s':>12}{'to default_rng':>18}")
        for way, rate in rates.items():
            print(f"  {way:34}{rate / 1e6:12,.1f}{rate / rates['numpy default_rng']:16.2f} x")


if __name__ == "__main__":
    main()
