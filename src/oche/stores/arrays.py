"""Numpy arrays by reference: what a job carries in place of an array, and what a worker makes of it.

    client                             worker
      ref = share(store, a)   ---->      view(ref)                   read-only, no copy where the store is mapped
      out = blank(store, ...) ---->      place(out, (row,), block)   writes the block, or returns it for the outcome
      collect(out, ...)       <----

Without a store an array travels in the job and its blocks in the outcomes: right for small ones on any engine.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from oche.errors import ConfigError
from oche.stores.lately import Lately
from oche.stores.opening import reach_store
from oche.stores.seam import Store

#: Bytes of values from a network that a worker's process keeps for its next jobs: rows and columns of large products
#: fit, and a machine of 16 slots has them 16 times.
KEPT = 256 << 20

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class ArrayRef:
    """An array in a store, C-contiguous. Without a name it is in none: a form to be filled."""

    store: str  #: its URL; of a form, where large blocks may go; empty if there is none
    name: str
    dtype: object  #: as in an .npy file's header
    shape: tuple[int, ...]

    @property
    def kind(self) -> np.dtype[Any]:
        """Its dtype."""
        return np.lib.format.descr_to_dtype(self.dtype)  # type: ignore[arg-type]


#: What a job carries: a reference, or a small array itself.
Shared: TypeAlias = "ArrayRef | Array"


def share(store: Store | None, array: Array) -> Shared:
    """The array by reference; the array itself without a store. Raises `ConfigError` for arrays of Python objects."""
    check_dtype(array.dtype)
    if isinstance(array, np.ma.MaskedArray):
        raise ConfigError("a masked array would lose its mask; give its data, filled: a.filled(value)")
    whole = np.ascontiguousarray(array).reshape(array.shape)  # the former makes 0 dimensions 1
    if store is None:
        return whole
    return ArrayRef(store.url, store.put(_bytes(whole)), describe(whole.dtype), whole.shape)


def blank(store: Store | None, shape: Sequence[int], dtype: np.dtype[Any]) -> ArrayRef:
    """An array that jobs will fill, in the store if that takes pieces."""
    check_dtype(dtype)
    sides = tuple(map(int, shape))
    if store is None or not store.traits.pieces:
        return ArrayRef("" if store is None else store.url, "", describe(dtype), sides)
    size = int(np.prod(sides, dtype=object)) * dtype.itemsize
    return ArrayRef(store.url, store.create(size), describe(dtype), sides)


def view(shared: Shared, store: Store | None = None) -> Array:
    """The array, read-only, once all of it is there: who views it again may be shown what this process got first.

    Who has its store open gives that; others come by the URL. Raises `ValueLost` if its store has it no longer.
    """
    if isinstance(shared, ArrayRef):
        return np.ndarray(shared.shape, shared.kind, buffer=_got(store or _attached(shared.store), shared.name))
    seen = shared.view()
    seen.flags.writeable = False
    return seen


def view_spans(shared: Shared, spans: Sequence[tuple[int, int]]) -> list[Array]:
    """Items lo .. hi - 1 of an array of one dimension, read-only, for each span; no more than these travel.

    Raises `ValueLost`.
    """
    if not isinstance(shared, ArrayRef) or _attached(shared.store).traits.mapped:
        whole = view(shared)
        return [whole[lo:hi] for lo, hi in spans]
    size = shared.kind.itemsize
    found = _attached(shared.store).get_many(shared.name, [(lo * size, hi * size) for lo, hi in spans])
    return [np.frombuffer(data, shared.kind) for data in found]


def place(out: ArrayRef, start: Sequence[int], block: Array, store: Store | None = None) -> Array | None:
    """Writes a block of the result at `start` (0 in axes that it does not name), or returns it for the outcome.

    The job returns what this returns. A block is written once it is whole, never worked on in place: another
    attempt may write it, too. Raises `ConfigError` for a block that has other axes, or does not fit there.
    """
    whole = np.asarray(block, out.kind, order="C")
    start = (*start, *[0] * (len(out.shape) - len(start)))
    within = (0 <= lo <= full - side for lo, side, full in zip(start, whole.shape, out.shape, strict=True))
    if not len(start) == whole.ndim == len(out.shape) or not all(within):
        raise ConfigError(f"a block of shape {whole.shape} does not fit at {start} in an array of shape {out.shape}")
    if not out.name:
        return whole
    if not whole.size:
        return None
    # Trailing axes that are covered whole make one run of bytes with the last axis that is not.
    axis = whole.ndim
    while axis > 1 and whole.shape[axis - 1] == out.shape[axis - 1]:
        axis -= 1
    head = whole.shape[: max(axis - 1, 0)]
    steps = np.cumprod([out.kind.itemsize, *out.shape[:0:-1]], dtype=np.int64)[::-1]  # bytes from index to index
    places = np.array([sum(lo * int(step) for lo, step in zip(start, steps, strict=False))])
    for side, step in zip(head, steps, strict=False):
        places = np.add.outer(places, step * np.arange(side)).ravel()
    data, size = _bytes(whole), whole.nbytes // len(places)
    runs = ((place, data[run * size : (run + 1) * size]) for run, place in enumerate(places.tolist()))
    (store or _attached(out.store)).write_many(out.name, runs)
    return None


def give(out: ArrayRef, block: Array) -> Shared:
    """A block for the caller alone, by reference where the form that it is for has a store: `accept` takes it there."""
    whole = np.asarray(block, out.kind, order="C")
    if not out.store:
        return whole
    return ArrayRef(out.store, _attached(out.store).give(_bytes(whole)), out.dtype, whole.shape)


def accept(store: Store | None, given: Shared) -> Array:
    """What a job gave; it is nobody else's from now on. Raises `ValueLost`."""
    if isinstance(given, ArrayRef):
        assert store is not None
        return np.ndarray(given.shape, given.kind, buffer=store.accept(given.name))
    return given


def collect(store: Store | None, out: ArrayRef, pieces: Iterable[tuple[Sequence[int], Array | None]]) -> Array:
    """The filled array, the caller's own, from what the jobs returned for blocks beginning at these places."""
    if store is not None and out.name:
        for _ in pieces:  # they were placed already
            pass
        return np.ndarray(out.shape, out.kind, buffer=store.take(out.name))
    whole = np.zeros(out.shape, out.kind)
    for start, block in pieces:
        if block is not None:
            whole[tuple(slice(lo, lo + side) for lo, side in zip(start, block.shape, strict=False))] = block
    return whole


def _got(store: Store, name: str) -> memoryview:
    """The value; what would travel each time is kept for the next job."""
    return store.get(name) if store.traits.mapped else _lately().get((store.url, name), lambda: store.get(name))


@functools.cache
def _lately() -> Lately:
    return Lately(KEPT)


@functools.cache
def _attached(url: str) -> Store:
    """The way to the values of others, kept as long as this process: it owns none."""
    return reach_store(url)


def check_dtype(dtype: np.dtype[Any]) -> None:
    """Raises `ConfigError` for items whose bytes mean nothing in another process."""
    if dtype.hasobject:
        raise ConfigError(
            f"an array of {dtype} holds Python objects, which have no bytes of their own; convert it first"
        )
    if not dtype.itemsize:
        raise ConfigError(f"an array of {dtype} has items of no bytes; give the dtype a length")


def describe(dtype: np.dtype[Any]) -> object:
    """The dtype as in the header of an .npy file. Raises `ConfigError` for one that cannot be written so."""
    try:
        return np.lib.format.dtype_to_descr(dtype)
    except ValueError as error:
        raise ConfigError(
            f"an array of {dtype} has fields that overlap or are out of order; "
            "repack them first (numpy.lib.recfunctions.repack_fields)"
        ) from error


def _bytes(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")
