"""Lowest common ancestors from numbers in preorder, by the least of a range.

Let up[k] be the preorder number of the parent of the node with number k, -1 for a root. Of two nodes with numbers
a < b the lowest common ancestor has the least number in up[a + 1 : b + 1]: the path down to b leaves it within that
range, and nothing numbered between a and b hangs higher. With a -1 there, b is of a later tree than a.

The least of a range: a sparse table over blocks of 32, and a look at each number in the blocks that are cut.
Bender and Farach-Colton, "The LCA problem revisited", LATIN 2000.
"""

from __future__ import annotations

import numpy as np

from oche.kernels.compiling import compiled
from oche.kernels.stopping import Array, StopByte, look

#: Numbers of a block, two lines of a cache for int32.
BLOCK = 32
#: Queries between two looks at the stop byte: about 5 ms.
SLICE = 2**15


def sparse_table(up: Array) -> Array:
    """Row l, place b: the least of `up` in the 2**l blocks from b on, as far as there are so many."""
    blocks = -(-len(up) // BLOCK)
    padded = np.full(blocks * BLOCK, np.iinfo(up.dtype).max, up.dtype)
    padded[: len(up)] = up
    rows = [padded.reshape(blocks, BLOCK).min(axis=1)]
    while (step := 2 ** len(rows)) <= blocks:
        last, half = rows[-1], step // 2
        row = last.copy()
        np.minimum(last[: blocks - half], last[half:], out=row[: blocks - half])
        rows.append(row)
    return np.stack(rows)


def ancestors(number: Array, up: Array, table: Array, u: Array, v: Array, stop: StopByte | None = None) -> Array:
    """Numbers in preorder of the lowest common ancestors of u[i] and v[i], -1 for nodes of different trees; int64.

    `number`: of each node in preorder. Looks at `stop[0]` every few ms: raises `CancelledError` once it is not zero.
    """
    found = np.empty(len(u), np.int64)
    for lo in range(0, len(u), SLICE):
        look(stop, f"after {lo} of {len(u)} queries")
        _ancestors(number, up, table, u[lo : lo + SLICE], v[lo : lo + SLICE], found[lo : lo + SLICE])
    return found


@compiled
def _ancestors(number: Array, up: Array, table: Array, u: Array, v: Array, found: Array) -> None:
    for i in range(u.size):
        a, b = number[u[i]], number[v[i]]
        if a == b:
            found[i] = a
            continue
        if a > b:
            a, b = b, a
        a += 1  # the least of up[a : b + 1]
        first, last = a // BLOCK, b // BLOCK
        least = up[a]
        if last - first < 2:
            for k in range(a, b + 1):
                least = min(least, up[k])
        else:
            for k in range(a, (first + 1) * BLOCK):
                least = min(least, up[k])
            for k in range(last * BLOCK, b + 1):
                least = min(least, up[k])
            level = 0
            while 2 << level <= last - first - 1:
                level += 1
            least = min(least, table[level, first + 1], table[level, last - (1 << level)])
        found[i] = least


def ancestor_plain(parent: Array, u: int, v: int) -> int:
    """The lowest common ancestor of two nodes, or -1, in plain Python: the first of v's line that is in u's."""

    def line(node: int) -> list[int]:
        nodes = [node]
        while (above := int(parent[node])) not in (-1, node):
            nodes.append(node := above)
        return nodes

    ancestors_of_u = set(line(u))
    return next((node for node in line(v) if node in ancestors_of_u), -1)
