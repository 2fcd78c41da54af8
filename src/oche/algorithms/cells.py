"""A product of matrices with a job for each cell: how it is published, and what blocks are measured against.

A job is row i of A and column j of B as JSON; the worker leaves the one number that it comes to in the store and
confirms with the cell's place; the client waits for all confirmations and reads C from the store. Without a store the
number is the answer. n^2 jobs carry 2 n^3 numbers to do n^3 multiplications with: `oche.algorithms.linalg.matmul` is
for use.
"""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from oche.algorithms.linalg import matrices
from oche.algorithms.team import CRASHES, Team
from oche.kernels.products import array_of, dot_plain
from oche.stores.arrays import Array, ArrayRef, Shared, accept, give, place
from oche.wire.task import task


def matmul_cells(a: ArrayLike, b: ArrayLike, *, cluster: Executor | None = None) -> Array:
    """The product of an m x k and a k x p matrix by m * p jobs, in the dtype of `matmul`.

    Each cell is summed as Python sums, from the first term to the last: integers exactly and then modulo what the
    dtype holds, floats in double precision. Raises as `matmul`.
    """
    left, right = matrices(a, b)
    rows, columns = left.tolist(), right.T.tolist()
    m, p, kind = left.shape[0], right.shape[1], np.result_type(left, right)
    jobs = ((i, j, row, column) for i, row in enumerate(rows) for j, column in enumerate(columns))
    with Team(cluster) as team:
        out = team.blank((m, p), kind)
        done = team.round(_cell, jobs, out=out)
        # By their places, not by the order they come in: an answer says which cell it is.
        return team.collect(out, (((i, j), cell if cell is None else accept(team.store, cell)) for i, j, cell in done))


@task(crashes=CRASHES)
def _cell(i: int, j: int, row: list[Any], column: list[Any], *, out: ArrayRef) -> tuple[int, int, Shared | None]:
    cell = array_of([[dot_plain(row, column)]], (1, 1), out.kind)
    return i, j, place(out, (i, j), cell) if out.name else give(out, cell)
