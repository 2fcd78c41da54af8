"""Rooted forests as arrays: children listed by parent, and trees gone through breadth first, without recursion.

`children` sorts the nodes of a forest by their parents, in one more than n + 1 places: one node above all roots, n,
makes it a single tree. `grow` lists trees breadth first. There every node stands after its parent, and children stand
side by side in ascending order, so that what `depths`, `sums` and `starts` compute is one pass along the list, in the
order of memory, for trees of any shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from oche.kernels.compiling import compiled
from oche.kernels.stopping import Array, StopByte, look

#: Nodes between two looks at the stop byte: 1 to 20 ms, by how far apart they lie in memory.
SLICE = 2**16


def children(parent: Array) -> tuple[int, Array, Array]:
    """The first bad node or -1; and `first`, `kids`: the children of v are kids[first[v] : first[v + 1]], ascending.

    `parent` is int32 or int64; a root has -1 or itself, and is a child of n. A node is bad if its parent is no node.
    """
    n = len(parent)
    kind = np.int32 if n + 2 < 2**31 else np.int64
    first, kids = np.zeros(n + 3, kind), np.empty(n, kind)
    bad = int(_children(parent, first, kids))
    return bad, first[: n + 2], kids


@compiled
def _children(parent: Array, first: Array, kids: Array) -> int:
    """Counting sort. While it runs, places are one further: first[v + 1] moves from the begin of v's to their end."""
    n = parent.size
    for i in range(n):
        p = parent[i]
        if p < -1 or p >= n:
            return i
        if p == -1 or p == i:
            p = n
        first[p + 2] += 1
    for v in range(1, n + 2):
        first[v + 1] += first[v]
    for i in range(n):
        p = parent[i]
        if p == -1 or p == i:
            p = n
        kids[first[p + 1]] = i
        first[p + 1] += 1
    return -1


@dataclass(frozen=True)
class Trees:
    """Trees one after the other, each listed breadth first."""

    nodes: Array
    above: Array  #: place of each node's parent in `nodes`, -1 for the roots
    counts: Array  #: nodes of each tree
    done: int  #: nodes whose children are here; those after them still wait for theirs


def grow(
    first: Array, kids: Array, roots: Array, room: int, *, wide: int | None = None, stop: StopByte | None = None
) -> Trees | None:
    """The trees below these roots; None if they have more than `room` nodes together.

    With `wide` it stops, within the first tree only, as soon as so many nodes wait for their children. Looks at
    `stop[0]` every few ms: raises `CancelledError` once it is not zero.
    """
    nodes, above = np.empty(room, kids.dtype), np.empty(room, kids.dtype)
    counts, state = np.zeros(len(roots), np.int64), np.zeros(4, np.int64)
    most = len(kids) + 2 if wide is None else wide
    while True:
        look(stop, f"after {state[2]} nodes of {len(roots)} trees")
        verdict = _grow(first, kids, roots, nodes, above, counts, state, most, SLICE)
        if verdict < 0:
            return None
        if verdict:
            _, done, filled, _ = map(int, state)
            return Trees(nodes[:filled], above[:filled], counts, done)


@compiled
def _grow(
    first: Array, kids: Array, roots: Array, nodes: Array, above: Array, counts: Array, state: Array, wide: int,
    most: int,
) -> int:  # fmt: skip
    """About `most` nodes further: -1 the room is full, 0 go on, 1 the end. state: trees, done, nodes, tree's begin."""
    taken, done, filled, begun = state[0], state[1], state[2], state[3]
    until, verdict = done + most, 0
    while done < until and verdict == 0:
        if done == filled:
            if taken > 0:
                counts[taken - 1] = filled - begun
            if taken == roots.size:
                verdict = 1
                break
            if filled == nodes.size:
                return -1
            nodes[filled], above[filled] = roots[taken], -1
            begun = filled
            filled += 1
            taken += 1
        v = nodes[done]
        begin, end = first[v], first[v + 1]
        if filled + end - begin > nodes.size:
            return -1
        for c in range(begin, end):
            nodes[filled], above[filled] = kids[c], done
            filled += 1
        done += 1
        if filled - done >= wide:
            verdict = 1
    state[0], state[1], state[2], state[3] = taken, done, filled, begun
    return verdict


def depths(above: Array) -> Array:
    """Links from each node of `Trees` up to its root, int64."""
    found = np.zeros(len(above), np.int64)
    _depths(above, found)
    return found


@compiled
def _depths(above: Array, found: Array) -> None:
    for j in range(above.size):
        if above[j] >= 0:
            found[j] = found[above[j]] + 1


def sums(above: Array, weights: Array) -> Array:
    """The sum of each node's subtree in `Trees`: its own weight, then its children's sums from the last to the first.

    `weights` are int64 or float64, and so are the sums; only floats can tell in which order they were added.
    """
    found = weights.copy()
    _sums(above, found)
    return found


@compiled
def _sums(above: Array, found: Array) -> None:
    for j in range(above.size - 1, -1, -1):
        if above[j] >= 0:
            found[above[j]] += found[j]


def starts(above: Array, sizes: Array, gap: int) -> Array:
    """Where each node's subtree begins if those of its children follow each other, `gap` after its own begin.

    `sizes` of the subtrees, int64; a root begins at 0. With a gap of 1 these are the numbers in preorder; with none,
    `starts + sizes - 1` are those in postorder.
    """
    found = np.zeros(len(above), np.int64)
    _starts(above, sizes, gap, found, np.empty(len(above), np.int64))
    return found


@compiled
def _starts(above: Array, sizes: Array, gap: int, found: Array, free: Array) -> None:
    """`free`: where the next child of each node begins."""
    for j in range(above.size):
        p = above[j]
        if p >= 0:
            found[j] = free[p]
            free[p] += sizes[j]
        free[j] = found[j] + gap


def settle(nodes: Array, counts: Array, local: Array, base: Array, out: Array) -> None:
    """out[node] = local + the base of its tree, for trees of counts[k] nodes each."""
    _settle(nodes, counts, local, base, out)


@compiled
def _settle(nodes: Array, counts: Array, local: Array, base: Array, out: Array) -> None:
    at = 0
    for tree in range(counts.size):
        for j in range(at, at + counts[tree]):
            out[nodes[j]] = local[j] + base[tree]
        at += counts[tree]


def tour(first: Array, kids: Array) -> Array:
    """The Euler tour of a forest as a linked list: down to v is its node v, up from v is n + v; -1 after the last."""
    n = len(kids)
    links = np.empty(2 * n, np.int64)
    _tour(first, kids, links)
    return links


@compiled
def _tour(first: Array, kids: Array, links: Array) -> None:
    n = kids.size
    for v in range(n + 1):
        begin, end = first[v], first[v + 1]
        for c in range(begin, end - 1):
            links[n + kids[c]] = kids[c + 1]
        if begin < end:
            links[n + kids[end - 1]] = n + v if v < n else -1
        if v < n:
            links[v] = kids[begin] if begin < end else n + v


def on_a_cycle(parent: Array) -> int:
    """The smallest node that is its own ancestor, or -1; `parent` is right but for that."""
    return int(_on_a_cycle(parent, np.zeros(len(parent), np.int64)))


@compiled
def _on_a_cycle(parent: Array, left: Array) -> int:
    """Takes leaves away until none is left: only cycles have no leaf."""
    n = parent.size
    for i in range(n):
        if parent[i] >= 0 and parent[i] != i:
            left[parent[i]] += 1
    for i in range(n):
        v = i
        while v >= 0 and left[v] == 0:
            left[v] = -1
            p = parent[v]
            if p == v:
                p = -1
            if p >= 0:
                left[p] -= 1
            v = p
    for i in range(n):
        if left[i] > 0:
            return i
    return -1


def depths_plain(parent: Array) -> list[int]:
    """The depth of every node, in plain Python, by the definition: as many parents as it takes to get to a root."""
    found, parents = [], parent.tolist()
    for v in range(len(parents)):
        depth = 0
        while parents[v] not in (-1, v):
            v, depth = parents[v], depth + 1
        found.append(depth)
    return found


def orders_plain(parent: Array) -> tuple[list[int], list[int]]:
    """The numbers of all nodes in preorder and in postorder, in plain Python: a walk around each tree."""
    n = len(parent)
    below: list[list[int]] = [[] for _ in range(n + 1)]
    for v, p in enumerate(parent):
        below[n if p in (-1, v) else int(p)].append(v)
    before, after = [0] * n, [0] * n
    begun = ended = 0
    stack = [(n, iter(below[n]))]
    while stack:
        v, rest = stack[-1]
        child = next(rest, None)
        if child is not None:
            before[child] = begun
            begun += 1
            stack.append((child, iter(below[child])))
            continue
        stack.pop()
        if v < n:
            after[v] = ended
            ended += 1
    return before, after


def sums_plain(parent: Array, weights: Array) -> list[Any]:
    """The sum of every subtree, in plain Python, in the order of additions that `sums` tells."""
    n = len(parent)
    found = [weight.item() for weight in weights]
    before, _ = orders_plain(parent)
    depth = depths_plain(parent)
    # Deeper ones first, so that sums are whole when they are added; of the same parent the later child first.
    for v in sorted(range(n), key=lambda v: (-depth[v], -before[v])):
        if parent[v] not in (-1, v):
            found[int(parent[v])] += found[v]
    return found
