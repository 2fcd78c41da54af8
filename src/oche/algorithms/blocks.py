"""Arrays cut into blocks, which are copied for the workers while the first of them are worked on already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from oche.algorithms.team import Team
from oche.stores.arrays import Array, ArrayRef, Shared, place, view

#: Items lo .. hi - 1 of what was shared.
Block: TypeAlias = tuple[Shared, int, int]


def blocks(team: Team, array: Array, cuts: Iterable[tuple[int, int]]) -> Iterator[Block]:
    """The blocks of a one-dimensional array, for calls of one round or several.

    In a store that takes pieces each block is copied when it is asked for: a cluster asks as its slots need. Without
    a store a block travels in its call, and no call carries more.
    """
    whole = team.blank(array.shape, array.dtype)
    if whole.name:
        for lo, hi in cuts:
            place(whole, (lo,), array[lo:hi], team.store)
            yield whole, lo, hi
        return
    shared = team.share(array)
    for lo, hi in cuts:
        yield (shared, lo, hi) if isinstance(shared, ArrayRef) else (shared[lo:hi], 0, hi - lo)


def seen(block: Block) -> Array:
    """The items of a block, read-only; for the call that got it."""
    shared, lo, hi = block
    return view(shared)[lo:hi]
