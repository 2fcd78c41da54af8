"""Running sums beside `np.cumsum`, and what the memory of this machine allows. In one run, taking turns.

    python benchmarks/scan.py [--items 5e7] [--rounds 5] [--quick] [--json]

All results are compared with numpy's, and read once within the time, as the pages of a shared result are mapped when
they are first read. The best of all rounds counts: the first one also pays for memory that was never touched before.

A scan on other processes must copy the array to where they see it, and they must write the result there, so its bound
is not the addition but these copies: "to the store" is the first one alone, on one core as the client does it;
"from two" is the second one, by two threads at a time. Whoever is not slower than both together has lost nothing else.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

import oche
from machine import describe, versions
from oche.algorithms.operators import BLOCK
from oche.algorithms.reduction import histogram, reduce
from oche.algorithms.scan import scan
from oche.algorithms.team import spans
from oche.stores.opening import open_store

Array = np.ndarray[Any, Any]
PAGE = 512  #: items of 8 bytes


def read(a: Array) -> Array:
    """The array, with one item of each page read."""
    a[::PAGE].sum()
    return a


def copies(a: Array, pool: ThreadPoolExecutor) -> dict[str, Callable[[], object]]:
    """What moves the bytes of an array, by name."""
    warm = np.zeros_like(a)
    cuts = spans(a.size, BLOCK)
    halves = [slice(0, a.size // 2), slice(a.size // 2, None)]

    def put() -> None:
        with open_store("memory:") as store:
            store.put(a.view(np.uint8).data)

    def fill() -> None:
        with open_store("memory:") as store:
            name = store.create(a.nbytes)
            data = a.view(np.uint8).data
            work = [pool.submit(store.write, name, 8 * lo, data[8 * lo : 8 * hi]) for lo, hi in cuts]
            for done in work:
                done.result()

    return {
        "copy, one core": lambda: np.copyto(warm, a),
        "copy, two threads": lambda: list(pool.map(lambda part: np.copyto(warm[part], a[part]), halves)),
        "copy to fresh memory": lambda: a.copy(),
        "to the store": put,
        "to the store, from two": fill,
    }


def ways(a: Array, pool: ThreadPoolExecutor, cluster: oche.Cluster) -> dict[str, Callable[[], object]]:
    """What is measured, by name; the first of each kind is numpy's."""
    wanted = np.histogram(a, 100)[0].tolist()

    def counted(cluster: Any) -> None:
        if histogram(a, 100, cluster=cluster)[0].tolist() != wanted:
            raise SystemExit("a histogram is wrong")

    return {
        "np.cumsum": lambda: read(np.cumsum(a)),
        "scan, here": lambda: read(scan(a)),
        "scan, two threads": lambda: read(scan(a, cluster=pool)),
        "scan, local: two slots": lambda: read(scan(a, cluster=cluster)),
        "np.maximum.accumulate": lambda: read(np.maximum.accumulate(a)),
        "scan maximum, here": lambda: read(scan(a, np.maximum)),
        "scan maximum, local: two slots": lambda: read(scan(a, np.maximum, cluster=cluster)),
        "np.sum": lambda: np.sum(a),
        "reduce, here": lambda: reduce(a),
        "reduce, two threads": lambda: reduce(a, cluster=pool),
        "reduce, local: two slots": lambda: reduce(a, cluster=cluster),
        "np.histogram": lambda: np.histogram(a, 100),
        "histogram, here": lambda: counted(None),
        "histogram, two threads": lambda: counted(pool),
        "histogram, local: two slots": lambda: counted(cluster),
    }


def check(a: Array, cluster: oche.Cluster) -> None:
    """Raises unless scans are right: integers the same, floats within their bound and the same everywhere."""
    wanted, found = np.cumsum(a), scan(a, cluster=cluster)
    alike = np.array_equal(found, wanted) if a.dtype.kind == "i" else np.allclose(found, wanted, rtol=1e-9, atol=0)
    if not alike or not np.array_equal(found, scan(a)):
        raise SystemExit(f"a scan of {a.dtype} is wrong")


def measure(items: int, rounds: int) -> dict[str, dict[str, float]]:
    """Best seconds of each way, by dtype."""
    rng = np.random.default_rng(1)
    arrays = {"int64": rng.integers(0, 1000, items), "float64": rng.random(items)}
    found: dict[str, dict[str, float]] = {}
    with oche.connect("local:", max_workers=2) as cluster, ThreadPoolExecutor(2) as pool:
        for kind, a in arrays.items():
            check(a, cluster)
            best = found[kind] = {}
            for _ in range(rounds):
                for name, way in (copies(a, pool) | ways(a, pool, cluster)).items():
                    began = time.perf_counter()
                    way()
                    best[name] = min(time.perf_counter() - began, best.get(name, float("inf")))
    return found


def show(found: dict[str, dict[str, float]], items: int) -> None:
    """The tables."""
    for kind, best in found.items():
        print(f"\n{kind}, {items:,} items, {8 * items / 1e6:,.0f} MB")
        print(f"{'':34}{'seconds':>10}{'ns/item':>10}{'to numpy':>12}")
        numpy = float("nan")
        for name, seconds in best.items():
            numpy = seconds if name.startswith("np.") else numpy
            ratio = f"{seconds / numpy:10.2f} x" if numpy == numpy else f"{8e-9 * items / seconds:7.1f} GB/s"
            print(f"{name:34}{seconds:10.4f}{1e9 * seconds / items:10.2f}{ratio:>12}")
        bound = best["to the store"] + best["to the store, from two"]
        print(f"copies that other processes force: {bound:.4f} s, {bound / best['np.cumsum']:.2f} x np.cumsum")
        print(f"scan on local: takes {best['scan, local: two slots'] / bound:.2f} x these copies")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--items", type=float, default=5e7, help="items of 8 bytes")
    parser.add_argument("--rounds", type=int, default=5, help="each way takes this many turns")
    parser.add_argument("--quick", action="store_true", help="a small run that shows that all works")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    items, rounds = (3_000_000, 2) if options.quick else (int(options.items), max(2, options.rounds))
    about = [*describe(), versions(["numpy", "numba"])]
    found = measure(items, rounds)
    if options.json:
        print(json.dumps({"machine": about, "items": items, "seconds": found}, indent=2))
        return
    print("\n".join(about))
    show(found, items)


if __name__ == "__main__":
    main()
