"""MB/s of counting words, beside one loop and `multiprocessing.Pool` with the usual recipe. In one run, taking turns.

    python benchmarks/wordcount.py [--megabytes 200] [--rounds 3] [--quick] [--json]

The text is made: 50,000 words of three alphabets with Zipf's frequencies, in lines. The loop is the shortest correct
one, `Counter` of `re.findall` over each line; the recipe cuts the file at line ends, has each process count its part
so, and adds up the counters it gets back. "split" is the loop with `line.split()`, which leaves commas at the words
and so counts something else: it shows what the regular expression costs. All others must give the same counts.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

import oche
from machine import describe, versions
from oche.algorithms.words import word_count

WORD = re.compile(r"\w+")
ALPHABETS = ("etaoinshrdlu", "etaoinshrdlu", "aeioußüöän", "αβγδεικλο")


def make(path: Path, megabytes: float) -> None:
    """Writes the text; the same one each time."""
    rng = random.Random(1)
    words = ["".join(rng.choices(rng.choice(ALPHABETS), k=rng.randint(1, 11))) for _ in range(50_000)]
    ends = [", ", ".\n", *[" "] * 9]
    numbers = np.random.default_rng(1)
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < megabytes * 1e6:
            which = numbers.zipf(1.15, 200_000) % len(words)
            after = numbers.integers(0, len(ends), which.size)
            file.write("".join(words[i] + ends[j] for i, j in zip(which.tolist(), after.tolist(), strict=True)))


def loop(path: Path) -> Counter[str]:
    """One process, line by line."""
    counts: Counter[str] = Counter()
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            counts.update(WORD.findall(line))
    return counts


def split(path: Path) -> Counter[str]:
    """The same, with words cut at spaces only."""
    counts: Counter[str] = Counter()
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            counts.update(line.split())
    return counts


def part(piece: tuple[str, int, int]) -> Counter[str]:
    """The recipe's function: the lines of a part of the file."""
    path, lo, hi = piece
    with open(path, "rb") as file:
        file.seek(lo)
        text = file.read(hi - lo).decode("utf-8", "replace")
    counts: Counter[str] = Counter()
    for line in text.splitlines():
        counts.update(WORD.findall(line))
    return counts


def recipe(pool: multiprocessing.pool.Pool, path: Path) -> Counter[str]:
    """Parts of 16 MiB that end with a line, counted by the pool."""
    ends = [0]
    with path.open("rb") as file:
        size = path.stat().st_size
        while ends[-1] < size:
            file.seek(min(ends[-1] + 2**24, size))
            file.readline()
            ends.append(file.tell())
    counts: Counter[str] = Counter()
    for found in pool.imap_unordered(part, [(str(path), lo, hi) for lo, hi in pairwise(ends)]):
        counts.update(found)
    return counts


def measure(path: Path, rounds: int) -> dict[str, float]:
    """Best MB/s of each way."""
    size, wanted = path.stat().st_size / 1e6, loop(path)
    best: dict[str, float] = {}
    with (
        multiprocessing.Pool(2) as pool,  # forks, so it comes before there are threads
        oche.connect("local:", max_workers=1) as one,
        oche.connect("local:", max_workers=2) as two,
    ):
        ways: dict[str, Callable[[], Counter[str]]] = {
            "loop": lambda: loop(path),
            "loop, split": lambda: split(path),
            "multiprocessing.Pool(2)": lambda: recipe(pool, path),
            "oche, here": lambda: word_count([path]),
            "oche, local: one slot": lambda: word_count([path], cluster=one),
            "oche, local: two slots": lambda: word_count([path], cluster=two),
        }
        for _ in range(rounds):
            for name, way in ways.items():
                began = time.perf_counter()
                found = way()
                rate = size / (time.perf_counter() - began)
                if name != "loop, split" and found != wanted:
                    raise SystemExit(f"{name} counts other words")
                best[name] = max(rate, best.get(name, 0.0))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=float, default=200, help="size of the text")
    parser.add_argument("--rounds", type=int, default=3, help="each way takes this many turns")
    parser.add_argument("--quick", action="store_true", help="a small run that shows that all works")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    megabytes, rounds = (8, 2) if options.quick else (options.megabytes, max(2, options.rounds))
    about = [*describe(), versions(["numpy", "msgspec"])]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "text")
        make(path, megabytes)
        size = os.path.getsize(path)
        rates = measure(path, rounds)
    if options.json:
        print(json.dumps({"machine": about, "bytes": size, "megabytes_per_second": rates}, indent=2))
        return
    print("\n".join(about))
    print(f"{size / 1e6:,.0f} MB of text\n\n{'':28}{'MB/s':>8}{'to the loop':>14}{'to the Pool':>14}")
    for name, rate in rates.items():
        to_loop, to_pool = rate / rates["loop"], rate / rates["multiprocessing.Pool(2)"]
        print(f"{name:28}{rate:8.1f}{to_loop:12.2f} x{to_pool:12.2f} x")


if __name__ == "__main__":
    main()
