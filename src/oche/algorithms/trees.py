"""Trees from an array of parents: depths, sums of subtrees, numbers in preorder and postorder, common ancestors.

Two ways, and the same integers: "subtrees" (`trees_subtrees`) is the default, "tour" (`trees_tour`) the contrast.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Literal, TypeAlias

import numpy as np

from oche.algorithms.nodes import node_numbers, node_row
from oche.algorithms.team import CRASHES, Team, spans
from oche.algorithms.trees_subtrees import by_subtrees
from oche.algorithms.trees_tour import by_tour
from oche.errors import ConfigError
from oche.stores.arrays import Array, ArrayRef, Shared, place, view
from oche.wire.task import task
from oche.worker.context import stop_byte

Method: TypeAlias = Literal["subtrees", "tour"]

#: Queries of a call.
QUERIES = 2**19


def depth(
    parent: Any, *, method: Method = "subtrees", cluster: Executor | None = None, progress: bool = False
) -> Array:
    """The number of links from each node up to its root.

    `parent`: n integers; the parent of node i is parent[i], and -1 or i itself says that i is a root. There may be
    many roots. Returns n int64, 0 for a root. O(n) work.

    Raises `ConfigError` for an array that is no forest: other dtypes and shapes, a parent that is no node, a node that
    is its own ancestor; for another `method`; and what the cluster raises. So do all functions of this module.
    """
    return _solve("depth", node_row(parent, "parent"), None, method, cluster, progress)


def subtree_sums(
    parent: Any, values: Any, *, method: Method = "subtrees", cluster: Executor | None = None, progress: bool = False
) -> Array:
    """The sum of the values in each node's subtree, its own among them; with values of 1 the number of its nodes.

    `parent` as for `depth`; `values`: n numbers. Returns n int64 for integers, exactly, or n float64 for floats.
    Floats are added in a fixed order: a node's own value, then the sums of its children from the last to the first.
    (The way "tour" takes differences of prefix sums instead, whose errors are those of the largest prefix.)

    Raises as `depth`, and `ConfigError` for other values, and for integers whose sum could be 2**63 or more.
    """
    parents = node_row(parent, "parent")
    return _solve("sums", parents, _values(values, len(parents)), method, cluster, progress)


def preorder(
    parent: Any, *, method: Method = "subtrees", cluster: Executor | None = None, progress: bool = False
) -> Array:
    """The number of each node in preorder, from 0: parents before children, children and roots in ascending order.

    `parent` and errors as for `depth`; n int64. With the sizes of subtrees these numbers tell descent: v is in u's
    subtree exactly if number[u] <= number[v] < number[u] + size[u].
    """
    return _solve("preorder", node_row(parent, "parent"), None, method, cluster, progress)


def postorder(
    parent: Any, *, method: Method = "subtrees", cluster: Executor | None = None, progress: bool = False
) -> Array:
    """The number of each node in postorder, from 0: parents after children, children and roots in ascending order.

    `parent` and errors as for `depth`; n int64.
    """
    return _solve("postorder", node_row(parent, "parent"), None, method, cluster, progress)


def lca(
    parent: Any, u: Any, v: Any, *, method: Method = "subtrees", cluster: Executor | None = None, progress: bool = False
) -> Array:
    """The lowest common ancestor of u[i] and v[i] for each i, which may be one of them; -1 if they share no tree.

    `parent` as for `depth`; `u` and `v`: nodes, as arrays of one shape, or of shapes that numpy broadcasts. Returns
    that shape in int64. O(n) work before, which `method` is about; then O(1) for a query, split over the cluster.

    Raises as `depth`, and `ConfigError` for a query about what is no node.
    """
    from oche.kernels.ancestors import sparse_table

    parents = node_row(parent, "parent")
    n = len(parents)
    pair = _nodes(u, "u", n), _nodes(v, "v", n)
    try:
        asked = np.broadcast_arrays(*pair)
    except ValueError as error:
        shapes = f"u has the shape {pair[0].shape} and v {pair[1].shape}"
        raise ConfigError(f"{shapes}; give as many of the one as of the other") from error
    shape = asked[0].shape
    if not asked[0].size:
        return np.empty(shape, np.int64)
    number = _solve("preorder", parents, None, method, cluster, progress)
    number = number.astype(np.int32 if n < 2**31 else np.int64)
    order = np.empty_like(number)
    order[number] = np.arange(n, dtype=number.dtype)
    above = parents[order]
    up = np.where((above < 0) | (above == order), -1, number[above]).astype(number.dtype)
    parts = spans(asked[0].size, QUERIES)
    with Team(cluster, progress=progress) as team:
        names = {"number": number, "up": up, "table": sparse_table(up), "u": asked[0].ravel(), "v": asked[1].ravel()}
        out = team.blank((asked[0].size,), np.dtype(np.int64))
        done = team.round(_answer, parts, out=out, **{name: team.share(array) for name, array in names.items()})
        found = team.collect(out, [((lo,), block) for (lo, _), block in zip(parts, done, strict=True)])
    return np.where(found < 0, -1, order[found]).astype(np.int64).reshape(shape)


@task(crashes=CRASHES)
def _answer(
    lo: int, hi: int, *, number: Shared, up: Shared, table: Shared, u: Shared, v: Shared, out: ArrayRef
) -> Array | None:
    """The queries lo .. hi - 1."""
    from oche.kernels.ancestors import ancestors

    tree = view(number), view(up), view(table)
    return place(out, (lo,), ancestors(*tree, view(u)[lo:hi], view(v)[lo:hi], stop_byte()))


def _solve(
    what: str, parents: Array, values: Array | None, method: str, cluster: Executor | None, progress: bool
) -> Array:
    """One number for each node: what is asked for, in the way asked for."""
    from oche.kernels.forest import children, on_a_cycle

    if method not in ("subtrees", "tour"):
        raise ConfigError(f"method={method!r} is no way to solve trees; take 'subtrees' or 'tour'")
    bad, first, kids = children(parents)
    if bad >= 0:
        raise ConfigError(
            f"parent[{bad}] is {parents[bad]}, but the nodes are 0 .. {len(parents) - 1}; a root has -1 or itself"
        )
    solve: Callable[..., Array | None] = by_tour if method == "tour" else by_subtrees
    found = solve(what, first, kids, values, cluster, progress)
    if found is None:
        raise ConfigError(f"node {on_a_cycle(parents)} is its own ancestor; a tree ends with a root, of parent -1")
    return found


def _nodes(asked: Any, name: str, n: int) -> Array:
    """Queries, each of them one of n nodes."""
    nodes = node_numbers(asked, name)
    wrong = np.flatnonzero((nodes < 0) | (nodes >= n))
    if wrong.size:
        raise ConfigError(f"{name} asks for node {nodes.flat[wrong[0]]}, but the nodes are 0 .. {n - 1}")
    return nodes


def _values(values: Any, n: int) -> Array:
    """The values as int64, if none of their sums can pass it, or float64."""
    given = np.asarray(values)
    if given.shape != (n,):
        raise ConfigError(f"values have the shape {given.shape}; give one for each of the {n} nodes")
    if given.dtype.kind == "f":
        return np.ascontiguousarray(given, np.float64)
    if given.dtype.kind not in "biu":
        raise ConfigError(f"values are of {given.dtype}; give integers or floats")
    if given.size and max(int(given.max()), -int(given.min())) * n >= 2**63:
        # By halves of 32 bits, whose sums fit; of what is not negative, and of what is.
        wide = given if given.dtype == np.uint64 else given.astype(np.int64)
        for part in (np.maximum(wide, 0), np.minimum(wide, 0)):
            if abs((int((part >> 32).sum()) << 32) + int((part & 0xFFFFFFFF).sum())) >= 2**63:
                raise ConfigError("the sum of all these integers could pass 2**63; give them as floats")
    return np.ascontiguousarray(given, np.int64)
