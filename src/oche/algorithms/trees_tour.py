"""Trees by the Euler tour: a walk around each tree is a linked list, and a ranked list is an array to be scanned.

Tarjan and Vishkin, "An efficient parallel biconnectivity algorithm", SIAM Journal on Computing 14, 1985.

        0            the tour goes down to every node and up from it:
       / \\
      1   2          down 0, down 1, up 1, down 2, up 2, up 0

Its 2n links need no knowledge of the tree's shape, and list ranking cuts them evenly, also where a tree is a path or
a star; then depths, sums and numbers are prefix sums along the tour. It touches memory several times as much as the
cut into subtrees. To be compared; and for deep trees, where going down level by level waits for memory at each level.
"""

from __future__ import annotations

from concurrent.futures import Executor

import numpy as np

from oche.algorithms.list_ranking import list_rank
from oche.errors import ConfigError, Unsupported
from oche.stores.arrays import Array


def by_tour(
    what: str, first: Array, kids: Array, values: Array | None, cluster: Executor | None, progress: bool
) -> Array | None:
    """One number for each node, "depth", "sums", "preorder" or "postorder"; None if some nodes are below no root.

    `first` and `kids` as `oche.kernels.forest.children` makes them; `values` for "sums", int64 or float64.
    """
    from oche.kernels.forest import tour

    n = len(kids)
    try:
        at: Array = 2 * n - 1 - list_rank(tour(first, kids), cluster=cluster, progress=progress)
    except Unsupported:
        raise
    except ConfigError:  # the tour around a cycle has no end; nothing else can be wrong with such a list
        return None
    down, up = at[:n], at[n:]
    if what == "sums":
        assert values is not None
        along = np.zeros(2 * n + 1, values.dtype)
        along[down + 1] = values
        along = np.cumsum(along)
        totals: Array = along[up + 1] - along[down]
        return totals
    downs = np.zeros(2 * n, np.int64)
    downs[down] = 1
    before: Array = np.cumsum(downs)
    if what == "postorder":
        ups: Array = up - before[up]  # steps before it that lead up
        return ups
    numbers: Array = before[down] - 1
    if what == "depth":
        numbers = 2 * numbers - down  # steps down before it, less steps up
    return numbers
