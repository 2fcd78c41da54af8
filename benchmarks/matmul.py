"""Products of matrices: blocks on two slots beside numpy, beside the same by hand, and beside a job for each cell.

    python benchmarks/matmul.py [--quick] [--rounds 3] [--json]

All ways take turns on the same matrices of float64, and the best of all rounds counts: the first round also fetches
memory from the system, which on virtual machines takes as long as the product. Each product is checked. "By hand" is
what one writes with a pool at first: a few rows of A, and B, as arguments. "Copies" is no product: what one core takes
to write three such matrices to shared memory and to see two of them in each worker, which nobody can do without whose
workers are processes. Spread over the cores and added to numpy's time it is the bound for all of them.
"""

from __future__ import annotations

import argparse
import json
import mmap
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack

import numpy as np

import oche
from machine import describe, versions
from oche.algorithms.blas import one_blas_thread
from oche.algorithms.cells import matmul_cells
from oche.algorithms.linalg import freivalds, matmul
from oche.stores.shared_memory import SharedMemoryStore

SLOTS = 2
SIZES = (512, 1024, 2048, 4096)
CELLS = (8, 16, 32, 64, 128)
#: Rows a job, by hand: eight jobs.
PARTS = 8
ALL, ONE, LOCAL, POOL, HAND, CELL, COPIES = (
    "numpy, all cores", "numpy, 1 thread", "oche local:", "oche, process pool", "pool by hand", "job a cell", "copies",
)  # fmt: skip
Way = Callable[[np.ndarray, np.ndarray], np.ndarray]
#: Seconds, by size and way.
Figures = dict[int, dict[str, float]]


def one_thread(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with one_blas_thread():
        return a @ b


def by_hand(pool: Executor, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    parts = np.array_split(a, PARTS)
    return np.concatenate(list(pool.map(one_thread, parts, [b] * len(parts))))


def copies(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    """Writes the three, and has a look at each page of the first two for each worker, and of the third once."""
    with SharedMemoryStore() as store:
        names = [store.put(matrix) for matrix in (a, b, c)]
        for name in (*names[:2] * SLOTS, names[2]):
            np.frombuffer(store.get(name), np.uint8)[:: mmap.PAGESIZE].max()


def measure(ways: dict[str, Way], sizes: tuple[int, ...], rounds: int) -> Figures:
    """Best seconds of each way for each size, the ways taking turns."""
    found: Figures = {}
    for size in sizes:
        random = np.random.default_rng(size)
        a, b = random.random((size, size)), random.random((size, size))
        best = found.setdefault(size, {})
        for _ in range(rounds):
            for name, multiply in ways.items():
                began = time.perf_counter()
                c = multiply(a, b)
                seconds = time.perf_counter() - began
                if not freivalds(a, b, c) <= 1:
                    raise SystemExit(f"{name} is wrong for {size}")
                best[name] = min(seconds, best.get(name, seconds))
            began = time.perf_counter()
            copies(a, b, c)
            seconds = time.perf_counter() - began
            best[COPIES] = min(seconds, best.get(COPIES, seconds))
    return found


def table(found: Figures, baseline: str) -> list[str]:
    """Seconds, and in brackets how many times as fast as the baseline."""
    names = list(next(iter(found.values())))
    lines = [f"{'n':>6}" + "".join(f"{name:>26}" for name in names)]
    for size, seconds in found.items():
        cells = (f"{seconds[name]:.4f} s ({seconds[baseline] / seconds[name]:.2f})" for name in names)
        lines.append(f"{size:>6}" + "".join(f"{cell:>26}" for cell in cells))
    return lines


def goals(blocks: Figures, cells: Figures) -> list[tuple[str, float, float | None]]:
    """What is wanted, at least how much, and how much was reached: None where it was not measured."""
    large = blocks.get(4096)
    bound = large and large[ALL] / (large[ALL] + large[COPIES] / SLOTS)
    of = f" (the copies alone allow {bound:.2f})" if bound else ""
    return [
        (f"4096: oche local:, to numpy on all cores{of}", 0.9, large and large[ALL] / large[LOCAL]),
        ("blocks to cells, at every size", 10.0, min(seconds[CELL] / seconds[LOCAL] for seconds in cells.values())),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="each way takes this many turns")
    parser.add_argument("--quick", action="store_true", help="small sizes and two rounds: to see that it works")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    sizes, small = (SIZES[:2], CELLS[:2]) if options.quick else (SIZES, CELLS)
    rounds = 2 if options.quick else options.rounds
    about = [*describe(), versions(["numpy", "threadpoolctl", "oche"]), f"{SLOTS} slots, {os.cpu_count()} cores"]
    with ExitStack() as stack:
        cluster = stack.enter_context(oche.connect("local:", max_workers=SLOTS))
        pool = stack.enter_context(ProcessPoolExecutor(SLOTS, mp_context=multiprocessing.get_context("spawn")))
        local: dict[str, Way] = {LOCAL: lambda a, b: matmul(a, b, cluster=cluster)}
        ways: dict[str, Way] = {
            ALL: np.matmul,
            ONE: one_thread,
            **local,
            POOL: lambda a, b: matmul(a, b, cluster=pool),
            HAND: lambda a, b: by_hand(pool, a, b),
        }
        blocks = measure(ways, sizes, rounds)
        cells = measure({CELL: lambda a, b: matmul_cells(a, b, cluster=cluster), **local}, small, rounds)
    reached = goals(blocks, cells)
    if options.json:
        print(json.dumps({"machine": about, "blocks": blocks, "cells": cells, "goals": reached}, indent=2))
        return
    print(*about, "", *table(blocks, ALL), "", *table(cells, CELL), "", sep="\n")
    for text, wanted, value in reached:
        verdict = "not measured" if value is None else f"{'yes' if value >= wanted else 'NO'}, {value:.2f}"
        print(f"goal: {text}, at least {wanted:g}: {verdict}")


if __name__ == "__main__":
    main()
