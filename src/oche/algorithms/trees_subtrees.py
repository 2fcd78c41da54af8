"""Trees by their subtrees: many of them in a call, each solved as if it were alone.

    the client    goes down from the roots, breadth first, until many subtrees hang below: the top is small, or the
                  tree is as narrow as a path and all of it is top
    a round       each call solves a share of these subtrees
    the client    solves the top, with each subtree as a leaf that has its size or sum; and adds to each node what its
                  subtree's root has: its depth, or where its numbers begin

A top that is most of the tree goes on to be all of it, and is solved here at once. So is a share of subtrees that turns
out far larger than the others.
"""

from __future__ import annotations

from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np

from oche.algorithms.team import CRASHES, Team
from oche.stores.arrays import Array, ArrayRef, Shared, place, view
from oche.wire.task import task
from oche.worker.context import stop_byte

if TYPE_CHECKING:
    from oche.kernels.forest import Trees

#: Nodes of a call, on average: some 50 ms. With fewer in all nothing is sent.
GROUP = 2**20
#: Subtrees of a call, on average. They are of all sizes; many of them together differ less.
SUBTREES = 256
#: Room for a call's nodes, in parts of what it has on average; a share that needs more is solved by the client.
ROOM = 2


def by_subtrees(
    what: str, first: Array, kids: Array, values: Array | None, cluster: Executor | None, progress: bool
) -> Array | None:
    """One number for each node, "depth", "sums", "preorder" or "postorder"; None if some nodes are below no root.

    `first` and `kids` as `oche.kernels.forest.children` makes them; `values` for "sums", int64 or float64.
    """
    from oche.kernels.forest import grow, settle

    n = len(kids)
    groups = n // GROUP if cluster is not None else 0
    above_all = np.array([n], kids.dtype)
    top = grow(first, kids, above_all, n + 1, wide=SUBTREES * groups if groups > 1 else None)
    if (
        top is not None and top.done < len(top.nodes) > n // 2
    ):  # a star, say: most nodes are met, and little hangs below
        top = grow(first, kids, above_all, n + 1)
    assert top is not None  # all nodes and the one above them have room
    out = np.empty(n, np.int64 if values is None else values.dtype)
    roots = top.nodes[top.done :]
    weights = _weights(values, top.nodes)
    counts, parts = np.zeros(len(roots), np.int64), list[tuple[Array, Array]]()
    if len(roots):
        with Team(cluster, progress=progress) as team:
            counts, totals, parts = _solve_all(team, groups, what, first, kids, roots, values)
        weights[top.done :] = totals
    if top.done - 1 + counts.sum() < n:
        return None
    found, base = _measure(what, top.above, weights)
    shift = 1 if what in ("depth", "preorder") else 0  # of the node above all roots, which counts for nothing
    out[top.nodes[1 : top.done]] = found[1 : top.done] - shift
    for group, (nodes, local) in enumerate(parts):
        settle(nodes, counts[group::groups], local, base[top.done + group :: groups] - shift, out)
    return out


def _solve_all(
    team: Team, groups: int, what: str, first: Array, kids: Array, roots: Array, values: Array | None
) -> tuple[Array, Array, list[tuple[Array, Array]]]:
    """The subtrees' numbers of nodes, what they weigh in the top, and each group's nodes with what was found there.

    Group g has every subtree whose place is g, modulo the number of groups: neighbours are often of a size.
    """
    room, each = ROOM * len(kids) // groups, -(-len(roots) // groups)
    kind = np.dtype(np.int64) if values is None else values.dtype
    outs = (
        team.blank((groups, room), kids.dtype),
        team.blank((groups, room), kind),
        team.blank((groups, each), np.dtype(np.int64)),
    )
    shared = {"first": team.share(first), "kids": team.share(kids), "roots": team.share(roots)}
    weights = None if values is None else team.share(values)
    calls = [(group, groups) for group in range(groups)]
    done = team.round(_solve_group, calls, what=what, weights=weights, outs=outs, **shared)
    kept = [team.collect(out, []) for out in outs]  # those that came in the outcomes are taken as they are
    counts, totals = np.zeros(len(roots), np.int64), np.zeros(len(roots), kind)
    parts = []
    for group, (size, *blocks) in enumerate(done):
        mine = roots[group::groups]
        if size < 0:
            solved = _subtrees(what, first, kids, mine, len(kids), values, None)
            assert solved is not None
            (nodes, sizes), local = (solved[0].nodes, solved[0].counts), solved[1]
        else:
            lengths = (size, size, len(mine))
            nodes, local, sizes = (
                array[group, :length] if block is None else block[0]
                for array, length, block in zip(kept, lengths, blocks, strict=True)
            )
        counts[group::groups] = sizes
        totals[group::groups] = sizes if values is None else local[np.cumsum(sizes) - sizes]
        parts.append((nodes, local))
    return counts, totals, parts


@task(crashes=CRASHES)
def _solve_group(
    group: int, groups: int, *, what: str, first: Shared, kids: Shared, roots: Shared, weights: Shared | None,
    outs: tuple[ArrayRef, ArrayRef, ArrayRef],
) -> tuple[int, Array | None, Array | None, Array | None]:  # fmt: skip
    """Solves every groups-th subtree; the number of their nodes, or -1 if that is more than there is room for."""
    values = None if weights is None else view(weights)
    mine = view(roots)[group::groups]
    solved = _subtrees(what, view(first), view(kids), mine, outs[0].shape[1], values, stop_byte())
    if solved is None:
        return -1, None, None, None
    trees, local = solved
    nodes, found, counts = (
        place(out, (group,), block[None]) for out, block in zip(outs, (trees.nodes, local, trees.counts), strict=True)
    )
    return len(trees.nodes), nodes, found, counts


def _subtrees(
    what: str, first: Array, kids: Array, roots: Array, room: int, values: Array | None, stop: memoryview | None
) -> tuple[Trees, Array] | None:
    """The subtrees below these roots, each solved as if it were alone; None if there is no room for them."""
    from oche.kernels.forest import grow

    trees = grow(first, kids, roots, room, stop=stop)
    if trees is None:
        return None
    return trees, _measure(what, trees.above, _weights(values, trees.nodes))[0]


def _weights(values: Array | None, nodes: Array) -> Array:
    """What each of these nodes adds to sums: 1 where nodes are counted; the node above all roots nothing."""
    if values is None:
        return np.ones(len(nodes), np.int64)
    if len(nodes) and nodes[0] == len(values):
        return np.concatenate([np.zeros(1, values.dtype), values[nodes[1:]]])
    return values[nodes]


def _measure(what: str, above: Array, weights: Array) -> tuple[Array, Array]:
    """What is asked for, by place in the list; and what the nodes of a subtree there have more than it finds alone."""
    from oche.kernels.forest import depths, starts, sums

    if what == "depth":
        found = depths(above)
        return found, found
    totals = sums(above, weights)
    if what == "sums":
        return totals, np.zeros_like(totals)
    begins = starts(above, totals, 1 if what == "preorder" else 0)
    return begins if what == "preorder" else begins + totals - 1, begins
