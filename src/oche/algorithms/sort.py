"""Sorting by sample sort: a sample says where to cut, every key goes to its part, every part is sorted by itself.

    client        sample, splitters
    workers       each block: keys put apart, part after part                    (one round)
    workers       each part: its pieces of all blocks gathered, and sorted       (one round)

A splitter is a key with its position, so equal keys are split like any others, and parts have about the same size
for any array: with 256 samples a part, more than twice the mean has a chance below 1e-15, by the bound of Blelloch,
Leiserson, Maggs, Plaxton, Smith, Zagha, "A comparison of sorting algorithms for the Connection Machine CM-2" (SPAA
1991). Sample sort is due to Frazer and McKellar, "Samplesort" (J. ACM 17(3), 1970). Sorting by regular sampling (Shi
and Schaeffer, J. Parallel Distrib. Comput. 14(4), 1992) bounds parts for certain, but sorts everything twice.

Numbers of 4 and 8 bytes are sorted by their codes (`oche.kernels.codes`) with a radix sort, all else by numpy. The
result is that of numpy's stable sort to the last bit: there is one such result, whoever computes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np

from oche.algorithms.team import CRASHES, Team, spans
from oche.errors import ConfigError
from oche.kernels.codes import decode, encode, has_codes
from oche.stores.arrays import Array, ArrayRef, Shared, place, view, view_spans
from oche.wire.task import task
from oche.worker.context import stop_byte

#: Bytes of keys in a block, at least: some ten milliseconds of work each round, and near caches hold much of it.
BLOCK = 2**22
#: Blocks, and parts, at most: the kernel's limit; pieces of a thousand keys or more, whatever the length.
PARTS = 256
#: Samples for each part.
SAMPLES = 256

#: Keys that are looked at together, to see whether they ascend.
CHUNK = 2**16

#: What one block came to: keys of each part, then keys and positions unless they were placed.
Distributed = tuple[list[int], Array | None, Array | None]


def sort(
    a: Any, *, cluster: Executor | None = None, order: str | Sequence[str] | None = None, progress: bool = False
) -> Array:
    """A sorted copy, the same as `numpy.sort(a, kind="stable", order=order)` to the last bit.

    `a` has one dimension and any dtype without Python objects; NaN and NaT come last. `order` names the fields to
    compare first in a structured array; the others break ties. Takes memory for four arrays, or three where nothing
    travels. Raises `ConfigError` for another array or order, and what the cluster raises.
    """
    array, names = _checked(a, order)
    if _ascends(array):
        return array.copy()
    with Team(cluster, progress=progress) as team:
        out = team.blank(array.shape, array.dtype)
        result = team.collect(out, _rounds(cluster, team, array, names, out, ranks=False))
    return _restored(result, array)


def argsort(
    a: Any, *, cluster: Executor | None = None, order: str | Sequence[str] | None = None, progress: bool = False
) -> Array:
    """The indices (intp) that sort `a`, equal items in their order: `numpy.argsort(a, kind="stable", order=order)`.

    Otherwise as `sort`; takes memory for the array three times and for the indices twice.
    """
    array, names = _checked(a, order)
    if _ascends(array):
        return np.arange(array.size)
    with Team(cluster, progress=progress) as team:
        out = team.blank(array.shape, np.dtype(np.intp))
        return team.collect(out, _rounds(cluster, team, array, names, out, ranks=True))


def _checked(a: Any, order: str | Sequence[str] | None) -> tuple[Array, list[str]]:
    """The array, and all its fields in the order in which they are compared; none if it has no fields."""
    array = np.asarray(a)
    if array.ndim != 1:
        raise ConfigError(
            f"an array of {array.ndim} dimensions has no one order; give a.ravel(), or its rows one by one"
        )
    fields = list(array.dtype.names or ())
    wanted = [order] if isinstance(order, str) else list(order or ())
    if unknown := [name for name in wanted if name not in fields]:
        known = f"it has {', '.join(fields)}" if fields else f"{array.dtype} has no fields: leave out order"
        raise ConfigError(f"order names {', '.join(map(repr, unknown))}, no field of the array; {known}")
    wanted = list(dict.fromkeys(wanted))
    return array, wanted + [name for name in fields if name not in wanted]


def _ascends(array: Array) -> bool:
    """Whether these are numbers in order already: an array in no order is found out within its first chunk."""
    if not has_codes(array.dtype):
        return False
    chunks = (array[lo : hi + 1] for lo, hi in spans(array.size, CHUNK))
    return all(bool((chunk[:-1] <= chunk[1:]).all()) for chunk in chunks)


def _rounds(
    cluster: Executor | None, team: Team, array: Array, names: list[str], out: ArrayRef, *, ranks: bool
) -> list[tuple[tuple[int], Array | None]]:
    """Both rounds: where each part begins in the result, and what `place` said of it."""
    coded = has_codes(array.dtype)
    kind = np.dtype(np.uint64) if coded else array.dtype
    keys = team.blank(array.shape, kind)
    places = team.blank(array.shape, np.dtype(np.int64)) if ranks else None
    if not array.size:
        return []
    parts = min(PARTS, -(-array.size * kind.itemsize // BLOCK))
    blocks = spans(array.size, -(-array.size // parts))
    with Team(cluster) as lender:  # the blocks can go when the first round is over
        splitters, positions = _splitters(array, names, parts, merged=ranks)
        done = team.round(
            _distribute,
            ((lo, lender.share(array[lo:hi])) for lo, hi in blocks),
            names=names,
            splitters=lender.share(splitters),
            positions=lender.share(positions),
            keys=keys,
            places=places,
        )
    counts = np.array([count for count, _, _ in done], np.int64).reshape(len(blocks), parts)
    sizes = counts.sum(axis=0)
    starts = (np.cumsum(sizes) - sizes).tolist()
    full = np.flatnonzero(sizes).tolist()
    pieces = _pieces(keys, places, blocks, done, counts, full)
    calls = ((starts[part], *pieces_of) for part, pieces_of in zip(full, pieces, strict=True))
    found = team.round(_sort_part, calls, names=names, out=out)
    return [((starts[part],), block) for part, block in zip(full, found, strict=True)]


def _splitters(array: Array, names: list[str], parts: int, *, merged: bool) -> tuple[Array, Array]:
    """Keys and positions, ascending as pairs, that cut a sample evenly. The result does not depend on them."""
    chance = np.random.default_rng(array.size)
    positions = np.sort(chance.integers(0, array.size, parts * SAMPLES))
    keys = _keys(array[positions], names, merged=merged)
    chosen = np.argsort(keys, kind="stable")[SAMPLES::SAMPLES]
    return keys[chosen].view(keys.dtype if has_codes(array.dtype) else array.dtype), positions[chosen]


def _keys(values: Array, names: list[str], *, merged: bool) -> Array:
    """What is compared: codes, or the values themselves with their fields in this order."""
    if has_codes(values.dtype):
        return encode(values, merged=merged)
    return values[names] if names else values


def _pieces(
    keys: ArrayRef, places: ArrayRef | None, blocks: list[tuple[int, int]], done: list[Distributed], counts: Array,
    full: list[int],
) -> Iterator[tuple[list[tuple[int, int]], Shared, Shared | None]]:  # fmt: skip
    """For each part that has keys: its spans, and the arrays of keys and positions that they are of."""
    begins = np.array([lo for lo, _ in blocks], np.int64)[:, None] + np.cumsum(counts, axis=1) - counts
    for part in full:
        cuts = [(begin, begin + n) for begin, n in zip(begins[:, part].tolist(), counts[:, part].tolist(), strict=True)]
        if keys.name:
            yield [(begin, end) for begin, end in cuts if begin < end], keys, places
            continue
        here = [slice(begin - lo, end - lo) for (begin, end), (lo, _) in zip(cuts, blocks, strict=True)]
        some = np.concatenate([block[cut] for (_, block, _), cut in zip(done, here, strict=True) if block is not None])
        where = [block[cut] for (_, _, block), cut in zip(done, here, strict=True) if block is not None]
        yield [(0, some.size)], some, np.concatenate(where) if where else None


@task(crashes=CRASHES)
def _distribute(
    lo: int, block: Shared, *, names: list[str], splitters: Shared, positions: Shared, keys: ArrayRef,
    places: ArrayRef | None,
) -> Distributed:  # fmt: skip
    """Puts the keys of the block that begins at lo apart, into `keys`, and their positions into `places`, if wanted."""
    values, limits, where = view(block), view(splitters), view(positions)
    compared = _keys(values, names, merged=places is not None)
    if has_codes(values.dtype):
        from oche.kernels.partition import partition  # here, so that a client never loads a compiler

        put, order, counts = partition(compared, lo, limits, where, stop_byte(), placed=places is not None)
    else:
        parts = _parts(compared, lo, _keys(limits, names, merged=False), where)
        order = np.argsort(parts, kind="stable")
        put, counts = values[order], np.bincount(parts, minlength=limits.size + 1)
        order += lo
    return counts.tolist(), place(keys, (lo,), put), None if places is None else place(places, (lo,), order)


def _parts(keys: Array, first: int, splitters: Array, positions: Array) -> Array:
    """How many of the splitters are not above each key, where the key at i has the position first + i."""
    least = np.searchsorted(splitters, keys, "left")
    parts = np.searchsorted(splitters, keys, "right")
    tied = np.flatnonzero(least < parts)  # keys that equal a splitter: positions decide among the splitters they equal
    if tied.size:
        groups = np.searchsorted(splitters, splitters, "left")
        wide = int(max(positions.max(), first + keys.size)) + 1
        pairs = least[tied] * wide + first + tied
        parts[tied] = np.searchsorted(groups * wide + positions, pairs, "right")
    return parts.astype(np.uint8)


@task(crashes=CRASHES)
def _sort_part(
    start: int, cuts: list[tuple[int, int]], keys: Shared, places: Shared | None, *, names: list[str], out: ArrayRef
) -> Array | None:
    """Sorts a part, the spans of `keys` at these cuts: its values, or its positions if given, go to `out` at start."""
    some = _joined(keys, cuts)
    where = None if places is None else _joined(places, cuts)
    if some.dtype == np.uint64:  # codes; numbers that are uint64 are their own
        from oche.kernels.partition import NOWHERE
        from oche.kernels.radix import sort as radix_sort

        radix_sort(some, NOWHERE if where is None else where, stop_byte())
        return place(out, (start,), decode(some, out.kind) if where is None else where)
    compared = _keys(some, names, merged=False)
    if where is None:
        return place(out, (start,), np.sort(compared, kind="stable").view(some.dtype))
    return place(out, (start,), where[np.argsort(compared, kind="stable")])


def _joined(shared: Shared, cuts: list[tuple[int, int]]) -> Array:
    return np.concatenate(view_spans(shared, cuts))


def _restored(result: Array, array: Array) -> Array:
    """Floats that are equal and yet differ, 0.0 and -0.0, or NaNs, as they came: codes put them in an order."""
    if array.dtype.kind != "f" or not has_codes(array.dtype):
        return result
    zero, nan = np.array([0, np.nan], result.dtype)
    zeros = np.searchsorted(result, zero, "left"), np.searchsorted(result, zero, "right")
    nans = np.searchsorted(result, nan, "left"), result.size
    for (lo, hi), chosen in ((zeros, lambda: array == 0), (nans, lambda: np.isnan(array))):
        if hi - lo > 1 and result[lo].tobytes() != result[hi - 1].tobytes():
            result[lo:hi] = array[chosen()]
    return result
