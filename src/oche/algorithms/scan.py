"""Prefix sums, or scans, with any associative operator, in three phases (Blelloch 1990, CMU-CS-90-190).

a          | 3 1 7 | 0 4 1 | 6 3 2 |
totals       11      5       11          1. workers reduce their blocks
before        0     11      16           2. the client scans the totals, of which there are few
scan       | 3 4 11| 11 15 16 | 22 25 27 |  3. workers scan their blocks, each from the total before it
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from typing import Any

import numpy as np
import numpy.typing as npt

from oche.algorithms.blocks import Block, blocks, seen
from oche.algorithms.operators import Operator, block_size, checked, fitting, identity, kind_of, running, steady, total
from oche.algorithms.team import Team, spans
from oche.errors import ConfigError
from oche.stores.arrays import Array, ArrayRef, Shared, place


def scan(
    a: npt.ArrayLike,
    op: Operator = np.add,
    *,
    exclusive: bool = False,
    initial: Any = None,
    cluster: Executor | None = None,
    progress: bool = False,
) -> Array:
    """The running values of a one-dimensional array: item i of n is a[0] op a[1] op ... op a[i].

    `op` is associative; it need not commute. A ufunc (`np.add`, `np.maximum`) has its own dtype rules, as in
    `op.accumulate`; a function of two values gets Python values, one pair at a time, and its results are kept in the
    dtype of `a`. `initial` comes before all items. `exclusive` leaves out the item itself: a[0] op ... op a[i - 1], and
    first `initial`, or the operator's identity.

    Integers are exactly those of `np.cumsum`. Floats have the same bits on every engine: sums of blocks of 2**20 run
    on their own and are added to the total before, so an error is below (2**20 + n / 2**20) eps sum(abs(a)) / 2
    instead of the n eps sum(abs(a)) / 2 of `np.cumsum`; and the sums of items that are not negative never decrease.

    Raises `ConfigError` for an array of other dimensions, an operator that is none, an `initial` that does not fit, an
    exclusive scan whose operator has no identity where no `initial` is given; and what `op` and the cluster raise.
    """
    op, array = checked(op), np.asarray(a)
    if array.ndim != 1:
        raise ConfigError(f"a scan runs along one dimension, and this array has {array.ndim}; give it as a.ravel()")
    kind = kind_of(op, array.dtype)
    start = identity(op, kind) if exclusive else None
    if initial is not None:
        start = fitting(op, initial, kind)
    if exclusive and start is None:
        raise ConfigError(f"an exclusive scan begins with the identity of {op!r}, which is not known; give initial=")
    cuts = spans(array.size, block_size(op, array.size))
    if cluster is None:
        return _here(op, array, cuts, start, exclusive, kind)
    with Team(cluster, progress=progress) as team:
        pieces: list[Block] = []
        totals = team.round(steady(_total, op), _noted(blocks(team, array, cuts), pieces), op=op, kind=kind)
        first = [None] if start is None else []  # nothing comes before the first block, or what was given does
        before = [*first, *itertools.accumulate(totals[:-1], op, initial=start)]
        out = team.blank(array.shape, kind)
        calls = [(*piece, lo, value) for piece, (lo, _), value in zip(pieces, cuts, before, strict=False)]
        done = team.round(steady(_scanned, op), calls, op=op, exclusive=exclusive, out=out)
        return team.collect(out, (((lo,), block) for (lo, _), block in zip(cuts, done, strict=True)))


def _total(shared: Shared, lo: int, hi: int, *, op: Operator, kind: np.dtype[Any]) -> Any:
    return total(op, seen((shared, lo, hi)), kind)


def _scanned(
    shared: Shared, lo: int, hi: int, at: int, before: Any, *, op: Operator, exclusive: bool, out: ArrayRef
) -> Array | None:
    found = np.empty(hi - lo, out.kind)
    running(op, seen((shared, lo, hi)), before, found)
    if exclusive:
        _shift(found, before)
    return place(out, (at,), found)


def _here(
    op: Operator, array: Array, cuts: list[tuple[int, int]], before: Any, exclusive: bool, kind: np.dtype[Any]
) -> Array:
    """The same in one pass, to the last bit: whoever scans a block learns its total."""
    out = np.empty(array.size, kind)
    for lo, hi in cuts:
        items, found = array[lo:hi], out[lo:hi]
        own = running(op, items, before, found)
        if own is None:
            own = total(op, items, kind)
        if exclusive:
            _shift(found, before)
        before = own if before is None else op(before, own)
    return out


def _shift(found: Array, before: Any) -> None:
    found[1:] = found[:-1]
    found[0] = before


def _noted(pieces: Iterable[Block], notes: list[Block]) -> Iterator[Block]:
    """The pieces, as they are asked for; written down for the next round."""
    for piece in pieces:
        notes.append(piece)
        yield piece
