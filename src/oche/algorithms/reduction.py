"""Reductions: all items of an array in one value, or in the counts of a histogram."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
import numpy.typing as npt

from oche.algorithms.blocks import blocks, seen
from oche.algorithms.operators import BLOCK, Operator, block_size, checked, fitting, kind_of, reduced, steady
from oche.algorithms.team import CRASHES, Team, spans
from oche.errors import ConfigError
from oche.stores.arrays import Array, Shared
from oche.wire.task import task


def reduce(
    a: npt.ArrayLike,
    op: Operator = np.add,
    *,
    initial: Any = None,
    cluster: Executor | None = None,
    progress: bool = False,
) -> Any:
    """a[0] op a[1] op ... over all items of an array, in C order; `initial` comes before them.

    `op` is associative; it need not commute. A ufunc has the dtype rules and the result of `op.reduce`; a function of
    two values gets Python values, and its result is whatever it returns. Blocks of 2**20 items are reduced on their
    own and combined in order, so floats have the same bits on every engine. Raises `ConfigError` for an operator that
    is none, an `initial` that does not fit, an empty array where the operator has no identity; and what `op` and the
    cluster raise.
    """
    op, array = checked(op), np.asarray(a).reshape(-1)
    kind = kind_of(op, array.dtype)
    start = [] if initial is None else [fitting(op, initial, kind)]
    if not array.size and not start and getattr(op, "identity", None) is None:
        raise ConfigError(f"{op!r} over an empty array has no value; give initial=")
    with Team(cluster, progress=progress) as team:
        parts = blocks(team, array, spans(array.size, block_size(op, array.size)))
        values = [*start, *team.round(steady(_reduced, op), parts, op=op)]
    return op.reduce(np.array(values, kind)) if isinstance(op, np.ufunc) else functools.reduce(op, values)


def _reduced(shared: Shared, lo: int, hi: int, *, op: Operator) -> Any:
    return reduced(op, seen((shared, lo, hi)))


def histogram(
    a: npt.ArrayLike,
    bins: int | str | Sequence[float] | Array = 10,
    range: tuple[float, float] | None = None,
    weights: npt.ArrayLike | None = None,
    *,
    cluster: Executor | None = None,
    progress: bool = False,
) -> tuple[Array, Array]:
    """How many items fall into each bin, or the sums of their weights; and the edges of the bins, one more than bins.

    `bins`, `range` and the edges are those of `np.histogram`, and so are the counts, exactly. Weights are added up in
    blocks of 2**20 items, in order: the same bits on every engine, and rounded otherwise than numpy's. Raises
    `ConfigError` for what numpy refuses.
    """
    array = np.asarray(a).reshape(-1)
    heavy = None if weights is None else np.asarray(weights)
    if heavy is not None and heavy.size != array.size:
        raise ConfigError(f"{heavy.size:,} weights for {array.size:,} items; each item has one weight")
    even = isinstance(bins, (str, int, np.integer))
    try:
        if even and range is None and array.size:
            range = (array.min(), array.max())  # not of each block: of all
        edges = np.histogram_bin_edges(array, bins, range, heavy)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"bins = {bins!r} over {range} cannot be made: {error}") from error
    cuts = spans(array.size, BLOCK)
    how: dict[str, Any] = {"bins": edges.size - 1, "range": range} if even else {"bins": edges, "range": None}
    with Team(cluster, progress=progress) as team:
        if heavy is None:
            parts = team.round(_counted, blocks(team, array, cuts), **how)
        else:
            pairs = zip(blocks(team, array, cuts), blocks(team, heavy.reshape(-1), cuts), strict=True)
            parts = team.round(_weighed, ((*items, *loads) for items, loads in pairs), **how)
    none = np.histogram([], edges, weights=None if heavy is None else heavy.reshape(-1)[:0])[0]
    return functools.reduce(np.add, parts, none), edges


@task(crashes=CRASHES)
def _counted(shared: Shared, lo: int, hi: int, *, bins: Any, range: Any) -> Array:
    return np.histogram(seen((shared, lo, hi)), bins, range)[0]


@task(crashes=CRASHES)
def _weighed(
    shared: Shared, lo: int, hi: int, weights: Shared, first: int, last: int, *, bins: Any, range: Any
) -> Array:
    return np.histogram(seen((shared, lo, hi)), bins, range, weights=seen((weights, first, last)))[0]
