"""Keys put apart: every key goes to its part, and within a part all stay in the order they came in.

Parts are told by splitters, which are pairs (key, position): part j takes what is not below splitter j - 1 and below
splitter j. As positions differ, so do all pairs, and even keys that are all equal are split where we want.
"""

from __future__ import annotations

import numpy as np

from oche.errors import ConfigError
from oche.kernels.compiling import compiled
from oche.kernels.stopping import Array, StopByte, look

#: Parts that a key can go to: their numbers are bytes, and a first-level cache has room for the ends of so many.
PARTS = 256
#: Keys between two looks at the stop byte: a few milliseconds.
SLICE = 2**19
#: Keys that are looked up together: they and their parts stay in the first-level cache.
GROUP = 512
#: What takes the place of positions where nobody wants them.
NOWHERE = np.empty(0, np.int64)


def _classify(
    keys: Array, lo: int, hi: int, first: int, splitters: Array, positions: Array, parts: Array, counts: Array
) -> None:
    """parts[i] for the keys lo .. hi - 1; there are 2**levels - 1 splitters, so each search has the same steps.

    All keys of a group take a step together: a loop without jumps, which LLVM vectorises.
    """
    half = (splitters.size + 1) // 2
    for begin in range(lo, hi, GROUP):
        end = min(begin + GROUP, hi)
        parts[begin:end] = 0
        step = half
        while step > 0:
            for i in range(begin, end):
                beyond = np.int64(parts[i]) + step
                parts[i] = beyond if splitters[beyond - 1] <= keys[i] else parts[i]
            step >>= 1
        for i in range(begin, end):
            key, part = keys[i], int(parts[i])
            if part > 0 and splitters[part - 1] == key:  # positions decide
                part, step = 0, half
                while step > 0:
                    at = part + step - 1
                    if splitters[at] < key or (splitters[at] == key and positions[at] <= first + i):
                        part += step
                    step >>= 1
                parts[i] = part
            counts[part] += 1


def _scatter(
    keys: Array, places: Array, lo: int, hi: int, parts: Array, ends: Array, to_keys: Array, to_places: Array
) -> None:
    """Appends the keys lo .. hi - 1, and their places if any, to their parts, which have grown up to `ends`."""
    if places.size:
        for i in range(lo, hi):
            part = parts[i]
            at = ends[part]
            ends[part] = at + 1
            to_keys[at] = keys[i]
            to_places[at] = places[i]
    else:
        for i in range(lo, hi):
            part = parts[i]
            at = ends[part]
            ends[part] = at + 1
            to_keys[at] = keys[i]


_classify_compiled, _scatter_compiled = compiled(_classify), compiled(_scatter)


def scatter(
    keys: Array, places: Array, parts: Array, counts: Array, stop: StopByte | None = None
) -> tuple[Array, Array]:
    """Copies of keys (uint64) and places (int64, or `NOWHERE`), part after part; `counts`: keys of each part."""
    to_keys, to_places = np.empty_like(keys), np.empty_like(places)
    ends = np.cumsum(counts) - counts
    for lo in range(0, keys.size, SLICE):
        look(stop, "amid the sorting")
        _scatter_compiled(keys, places, lo, min(lo + SLICE, keys.size), parts, ends, to_keys, to_places)
    return to_keys, to_places


def partition(
    keys: Array, first: int, splitters: Array, positions: Array, stop: StopByte | None = None, *, placed: bool = False
) -> tuple[Array, Array, Array]:
    """Keys (uint64) and their positions, part after part, and how many each part has.

    The key at i has the position first + i. `splitters` (uint64) and `positions` (int64), at most 255, ascend as
    pairs. Positions come back if `placed`, else `NOWHERE`. Raises `CancelledError` once `stop[0]` is not zero,
    `ConfigError` for too many splitters.
    """
    if not splitters.size == positions.size < PARTS:
        raise ConfigError(f"{splitters.size} splitters, {positions.size} positions: take as many, below {PARTS}")
    rest = 2 ** int(splitters.size).bit_length() - 1 - splitters.size
    splitters = np.pad(splitters, (0, rest), constant_values=2**64 - 1)
    positions = np.pad(positions, (0, rest), constant_values=2**63 - 1)  # above all there are
    parts, counts = np.empty(keys.size, np.uint8), np.zeros(splitters.size + 1, np.int64)
    for lo in range(0, keys.size, SLICE):
        look(stop, "amid the sorting")
        _classify_compiled(keys, lo, min(lo + SLICE, keys.size), first, splitters, positions, parts, counts)
    places = np.arange(first, first + keys.size, dtype=np.int64) if placed else NOWHERE
    keys, places = scatter(keys, places, parts, counts, stop)
    return keys, places, counts[: counts.size - rest]


def partition_plain(
    keys: list[int], first: int, splitters: list[int], positions: list[int]
) -> tuple[list[int], list[int], list[int]]:
    """What `partition` computes, in plain Python: its oracle."""
    pairs = list(zip(splitters, positions, strict=True))
    parts: list[list[tuple[int, int]]] = [[] for _ in range(len(pairs) + 1)]
    for pair in zip(keys, range(first, first + len(keys)), strict=True):
        parts[sum(splitter <= pair for splitter in pairs)].append(pair)
    flat = [pair for part in parts for pair in part]
    return [key for key, _ in flat], [place for _, place in flat], [len(part) for part in parts]
