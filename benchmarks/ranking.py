"""Links ranked per second: one walk, many walks on one core, oche, and pointer jumping. In one run, taking turns.

    python benchmarks/ranking.py [--quick] [--nodes 2e7] [--rounds 3] [--json]

One list goes through all nodes in random order, so that a walk waits for memory at every link. Seconds are from the
array of links to the array of ranks, both int64 in this process, with all checks, copies to the workers and back. The
walk is a compiled loop that is told the head and the length; it checks nothing. Each way takes some turns in one
process, and its best counts: the first touch of memory is slow on virtual machines, and from the second turn on all
find it warm. Clusters are started and kernels compiled before. Pointer jumping ranks a tenth of the nodes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import numpy as np
from numba import njit

import machine
import oche
from oche.algorithms.list_ranking import list_rank, list_rank_jumping

Array = np.ndarray
GOAL = 1.6  #: times the walk, with two slots


@njit(nogil=True)
def _walk(links: Array, head: int, ranks: Array) -> None:
    rank, i = links.size - 1, head
    while i >= 0:
        ranks[i] = rank
        rank -= 1
        i = links[i]


def walk(head: int, links: Array) -> Array:
    ranks = np.empty(len(links), np.int64)
    _walk(links, head, ranks)
    return ranks


def random_list(n: int) -> tuple[Array, Array]:
    """Links, and nodes in the order of the list."""
    order = np.random.default_rng(n).permutation(n)
    links = np.empty(n, np.int64)
    links[order[:-1]] = order[1:]
    links[order[-1]] = -1
    return links, order


def measure(ways: dict[str, Callable[[Array], Array]], n: int, rounds: int) -> dict[str, float]:
    """Best seconds of each way, each of whose results is right."""
    links, order = random_list(n)
    expected = np.empty(n, np.int64)
    expected[order] = np.arange(n - 1, -1, -1)
    best: dict[str, float] = {}
    for _ in range(max(2, rounds)):
        for name, rank in ways.items():
            began = time.perf_counter()
            found = rank(links)
            seconds = time.perf_counter() - began
            if not np.array_equal(found, expected):
                raise SystemExit(f"{name} finds other ranks")
            best[name] = min(seconds, best.get(name, seconds))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=lambda text: int(float(text)), default=2 * 10**7)
    parser.add_argument("--rounds", type=int, default=3, help="each way takes this many turns, at least two")
    parser.add_argument("--quick", action="store_true", help="two million nodes")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    n = 2 * 10**6 if options.quick else options.nodes
    about = [*machine.describe(), machine.versions(["numpy", "numba"])]
    with ExitStack() as stack:
        one, two = (stack.enter_context(oche.connect("local:", max_workers=slots)) for slots in (1, 2))
        large: dict[str, Callable[[Array], Array]] = {
            "one walk": partial(walk, int(random_list(n)[1][0])),
            "oche, in this process": list_rank,
            "oche, local:, one slot": partial(list_rank, cluster=one),
            "oche, local:, two slots": partial(list_rank, cluster=two),
        }
        few = n // 10
        small = {
            "one walk": partial(walk, int(random_list(few)[1][0])),
            "oche, local:, two slots": partial(list_rank, cluster=two),
            "pointer jumping, in this process": list_rank_jumping,
            "pointer jumping, two slots": partial(list_rank_jumping, cluster=two),
        }
        found = {size: measure(ways, size, options.rounds) for size, ways in ((n, large), (few, small))}
    if options.json:
        print(json.dumps({"machine": about, "seconds": found}, indent=2))
        return
    print(*about, sep="\n")
    for size, seconds in found.items():
        print(f"\n{f'{size:,} nodes':36}{'seconds':>10}{'million links/s':>18}{'times the walk':>18}")
        for name, best in seconds.items():
            print(f"{name:36}{best:10.3f}{size / best / 1e6:18,.1f}{seconds['one walk'] / best:16,.2f} x")
    ratio = found[n]["one walk"] / found[n]["oche, local:, two slots"]
    print(f"\ngoal: {GOAL:g} x one walk with two slots: {'met' if ratio >= GOAL else 'missed'} with {ratio:.2f} x")


if __name__ == "__main__":
    main()
