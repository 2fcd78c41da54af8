"""Operators, mappers and reducers for tests, importable by workers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import oche

#: The map x -> slope * x + shift modulo a prime, as a record.
AFFINE = np.dtype([("slope", np.int64), ("shift", np.int64)])
PRIME = 1_000_003


@oche.task
def then(f: tuple[int, int], g: tuple[int, int]) -> tuple[int, int]:
    """f, then g: associative, and f then g is not g then f."""
    return f[0] * g[0] % PRIME, (f[1] * g[0] + g[1]) % PRIME


def longest(a: bytes, b: bytes) -> bytes:
    """The longer one, the first of equally long ones."""
    return b if len(b) > len(a) else a


def slow_then(f: tuple[int, int], g: tuple[int, int]) -> tuple[int, int]:
    """As `then`, and it takes its time."""
    end = time.perf_counter() + 5e-5
    while time.perf_counter() < end:
        pass
    return f[0] * g[0] % PRIME, (f[1] * g[0] + g[1]) % PRIME


def affine(n: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """n maps."""
    rng = np.random.default_rng(seed)
    maps = np.empty(n, AFFINE)
    maps["slope"], maps["shift"] = rng.integers(1, PRIME, n), rng.integers(0, PRIME, n)
    return maps


def half(a: float, b: float) -> float:
    return (a + b) / 2


def letters(word: str) -> Iterator[tuple[str, int]]:
    """Each letter and the length of its word."""
    for letter in word:
        yield letter, len(word)


def listed(_key: object, values: list[Any]) -> list[Any]:
    return values


def largest(_key: object, values: list[int]) -> int:
    return max(values)


def typed(item: object) -> list[tuple[object, object]]:
    """The item as key and as value."""
    return [(item, item)]


def numbers(span: range) -> Iterator[tuple[int, int]]:
    """Each number under its remainder by 100."""
    for number in span:
        yield number % 100, number


def scattered(item: int) -> set[tuple[str, int]]:
    """Pairs in the order of a set of texts, which is another one in each process."""
    return {(f"key {item * k % 101}", item) for k in range(1, 30)}


def bulky(item: int) -> list[tuple[int, bytes]]:
    """A value of 100 KB."""
    return [(item, bytes([item]) * 100_000)]


def unsendable(item: object) -> list[tuple[object, object]]:
    return [(item, unsendable)]


def same_process(_item: object) -> list[tuple[int, int]]:
    return [(os.getpid(), 1)]
