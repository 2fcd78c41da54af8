"""Products of matrices: the result cut into blocks, each a job that gets its rows of A and its columns of B.

How it is cut follows from the shapes alone, and BLAS has one thread in each job: so floats are the same bits with any
number of workers on any engine (of processors for which BLAS takes the same code).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor

import numpy as np
from numpy.typing import ArrayLike

from oche.algorithms.blas import one_blas_thread
from oche.algorithms.team import CRASHES, Team, spans
from oche.errors import ConfigError
from oche.kernels.products import product
from oche.stores.arrays import Array, ArrayRef, Shared, place, view
from oche.wire.task import task
from oche.worker.context import stop_byte

#: Items in a block of the result at most: the first of these that makes enough blocks for 16 slots, or to keep 4 busy
#: to the end. BLAS is as fast as it gets from 256 x 256 on.
AREAS = (2**20, 2**18, 2**16, 2**14)
BLOCKS = 16
#: Multiplications that are done before a job is out, and so are done here: a millisecond of them.
SMALL = 2**21
#: Multiplications in a block at least, where smaller blocks are a choice: a millisecond, which is what a job costs.
WORK = 2**24
#: Vectors of `freivalds`: a wrong product passes once in 2**20 times.
TRIALS = 20


def matmul(a: ArrayLike, b: ArrayLike, *, cluster: Executor | None = None, progress: bool = False) -> Array:
    """The product of an m x k and a k x p matrix, as `a @ b` of numpy, in its dtype (`np.result_type(a, b)`).

    Integers are exact, modulo what their dtype holds. Floats and complex numbers: |C - A B| <= k * eps * |A| |B|,
    item by item. Raises `ConfigError` for what is no matrix of booleans or numbers and for shapes that do not fit, and
    what the cluster raises.
    """
    return _multiply(*matrices(a, b), cluster, progress)


def matvec(a: ArrayLike, x: ArrayLike, *, cluster: Executor | None = None, progress: bool = False) -> Array:
    """The product of an m x k matrix and a vector of k items: one of m items. Otherwise as `matmul`."""
    left, right = _numbers("a", a, 2), _numbers("x", x, 1)
    _check_inner(left, right)
    return _multiply(left, right.reshape(-1, 1), cluster, progress).reshape(-1)


def matrices(a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    """Both as arrays. Raises `ConfigError` unless they are matrices of booleans or numbers that have a product."""
    left, right = _numbers("a", a, 2), _numbers("b", b, 2)
    _check_inner(left, right)
    return left, right


def freivalds(a: Array, b: Array, c: Array, *, seed: int = 0) -> float:
    """How far c is from a @ b, as a share of what rounding may do; 0.0 where integers agree. Above 1, c is wrong.

    Compares c x with a (b x) for random vectors x of zeros and ones, in O(n^2) steps: Freivalds, Probabilistic machines
    can use less running time, IFIP Congress 1977. A wrong c shows in every second vector, and passes all 20 once in a
    million times (more often with booleans, where 1 + 1 = 1). nan where c is not finite: nothing can be said then.
    """
    if not np.isfinite(c).all():
        return math.nan
    exact = c.dtype.kind in "biu"
    kind = c.dtype if exact else np.result_type(c, np.float32)
    left, right, result = (matrix.astype(kind, copy=False) for matrix in (a, b, c))
    x = np.random.default_rng([seed, TRIALS]).integers(0, 2, (c.shape[1], TRIALS)).astype(kind)
    there, here = left @ (right @ x), result @ x
    if exact:
        return 0.0 if np.array_equal(there, here) else math.inf
    limits = np.finfo(c.dtype)  # what is below `tiny` is rounded more
    room = sum(b.shape) * (limits.eps * (np.abs(left) @ (np.abs(right) @ np.abs(x))) + limits.tiny)
    return float(np.max(np.abs(there - here) / room, initial=0.0))


def _multiply(a: Array, b: Array, cluster: Executor | None, progress: bool) -> Array:
    (m, k), p = a.shape, b.shape[1]
    kind = np.result_type(a, b)
    if 0 in (m, k, p):
        return np.zeros((m, p), kind)
    height, width = _sides(m, k, p)
    if m * k * p <= SMALL:
        cluster = None  # the same blocks, so the same bits
    with Team(cluster, progress=progress) as team:
        out = team.blank((m, p), kind)
        blocks = _Blocks(team, a, b, spans(m, height), spans(p, width))
        done = team.round(_block, blocks, out=out)
        return team.collect(out, zip(blocks.starts(), done, strict=True))


def _sides(m: int, k: int, p: int) -> tuple[int, int]:
    """Rows and columns of a block: a square, unless the result is narrower."""
    for area in [area for area in AREAS if area * k >= WORK] or AREAS[:1]:
        width = min(p, max(math.isqrt(area), area // m))
        height = min(m, area // width)
        if math.ceil(m / height) * math.ceil(p / width) >= BLOCKS:
            break
    return height, width


class _Blocks:
    """The calls of `_block`, and where each begins.

    Rows and columns are shared when the first call needs them, so that workers begin while the rest is copied.
    """

    def __init__(
        self, team: Team, a: Array, b: Array, rows: Sequence[tuple[int, int]], columns: Sequence[tuple[int, int]]
    ) -> None:
        self._team, self._a, self._b = team, a, b
        self._rows, self._columns = rows, columns

    def __len__(self) -> int:
        return len(self._rows) * len(self._columns)

    def starts(self) -> Iterator[tuple[int, int]]:
        return ((row, column) for (row, _), (column, _) in itertools.product(self._rows, self._columns))

    def __iter__(self) -> Iterator[tuple[tuple[int, int], Shared, Shared]]:
        shared: dict[int, Shared] = {}
        for row, end in self._rows:
            left = self._team.share(self._a[row:end])
            for column, stop in self._columns:
                if column not in shared:
                    shared[column] = self._team.share(self._b[:, column:stop])
                yield (row, column), left, shared[column]


@task(crashes=CRASHES)
def _block(start: tuple[int, int], rows: Shared, columns: Shared, *, out: ArrayRef) -> Array | None:
    with one_blas_thread():
        block = product(view(rows), view(columns), stop_byte())
    return place(out, start, block)


def _numbers(name: str, given: ArrayLike, sides: int) -> Array:
    array = np.asarray(given)
    if array.dtype.kind not in "biufc":
        raise ConfigError(f"{name} holds {array.dtype}, not booleans or numbers; convert it with .astype(float)")
    if array.ndim != sides:
        need = "a matrix (matvec takes a vector on the right)" if sides == 2 else "a vector (matmul takes matrices)"
        raise ConfigError(f"{name} has {array.ndim} dimensions, {array.shape}, and must be {need}; reshape it")
    return array


def _check_inner(a: Array, b: Array) -> None:
    if a.shape[1] != b.shape[0]:
        raise ConfigError(
            f"{a.shape} times {b.shape} is no product: a has {a.shape[1]} columns and the other {b.shape[0]} rows; "
            "both must be equal, so perhaps one wants transposing"
        )
