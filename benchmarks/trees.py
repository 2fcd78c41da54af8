"""Trees of several shapes: depths, sums, preorder and common ancestors, by both ways. In one run, taking turns.

    python benchmarks/trees.py [--quick] [--nodes 1e7] [--rounds 2] [--only random,path] [--json]

The nodes of each tree have random numbers, so that no way finds them in order. Seconds are from the array of parents
to the result, with all checks, copies to the workers and back; for common ancestors with half as many queries as there
are nodes. "here" is the default way without a cluster: compiled passes on one core, the way to beat. Each takes some
turns in one process, and its best counts; clusters are started and kernels compiled before.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial

import numpy as np

import machine
import oche
from oche.algorithms import trees

Array = np.ndarray


def shapes(n: int, random: np.random.Generator) -> dict[str, Array]:
    """By name, parents before children."""
    i = np.arange(n)
    return {
        "random": np.where(i > 0, (random.random(n) * i).astype(np.int64), -1),
        "binary": np.where(i > 0, (i - 1) // 2, -1),
        "path": i - 1,
        "caterpillar": np.where(i % 2, i - 1, np.maximum(i - 2, -1)),
        "star": np.where(i > 0, 0, -1),
    }


def shuffled(parent: Array, random: np.random.Generator) -> Array:
    names = random.permutation(len(parent))
    found = np.empty_like(parent)
    found[names] = np.where(parent >= 0, names[parent], -1)
    return found


def measure(parent: Array, cluster: oche.Cluster, random: np.random.Generator, rounds: int) -> dict[str, list[float]]:
    """By function: the best seconds of each way."""
    n = len(parent)
    values, queries = random.integers(-1000, 1000, n), random.integers(0, n, (2, n // 2))
    functions: dict[str, Callable[..., Array]] = {
        "depth": partial(trees.depth, parent),
        "subtree_sums": partial(trees.subtree_sums, parent, values),
        "preorder": partial(trees.preorder, parent),
        "lca": partial(trees.lca, parent, *queries),
    }
    found = {}
    for name, function in functions.items():
        expected = None
        best = [np.inf] * len(WAYS)
        for _ in range(max(2, rounds)):
            for place, way in enumerate(WAYS.values()):
                began = time.perf_counter()
                result = function(**way(cluster))
                best[place] = min(best[place], time.perf_counter() - began)
                if expected is not None and not np.array_equal(result, expected):
                    raise SystemExit(f"{name}: {list(WAYS)[place]} finds something else")
                expected = result
        found[name] = best
    return found


WAYS: dict[str, Callable[[oche.Cluster], dict[str, object]]] = {
    "here": lambda _: {},
    "subtrees, two slots": lambda cluster: {"cluster": cluster},
    "tour, here": lambda _: {"method": "tour"},
    "tour, two slots": lambda cluster: {"method": "tour", "cluster": cluster},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=lambda text: int(float(text)), default=10**7)
    parser.add_argument("--rounds", type=int, default=2, help="each way takes this many turns, at least two")
    parser.add_argument("--only", help="shapes, with commas between")
    parser.add_argument("--quick", action="store_true", help="three million nodes, two shapes")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    n = 3 * 10**6 if options.quick else options.nodes
    only = options.only or ("random,path" if options.quick else None)
    about = [*machine.describe(), machine.versions(["numpy", "numba"])]
    random = np.random.default_rng(n)
    found = {}
    with oche.connect("local:", max_workers=2) as cluster:
        for shape, parent in shapes(n, random).items():
            if only is None or shape in only.split(","):
                found[shape] = measure(shuffled(parent, random), cluster, random, options.rounds)
    if options.json:
        print(json.dumps({"machine": about, "nodes": n, "ways": list(WAYS), "seconds": found}, indent=2))
        return
    print(*about, sep="\n")
    for shape, rows in found.items():
        print(f"\n{f'{shape}, {n:,} nodes':30}" + "".join(f"{name:>22}" for name in WAYS))
        for name, best in rows.items():
            cells = (f"{seconds:.2f} s ({best[0] / seconds:.2f} x)" for seconds in best)
            print(f"{name:30}" + "".join(f"{cell:>22}" for cell in cells))


if __name__ == "__main__":
    main()
