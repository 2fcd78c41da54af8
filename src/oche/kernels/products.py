"""Products of blocks of matrices: all by BLAS, and those of integers exact, modulo what their dtype holds, as numpy's.

BLAS has no integers, and numpy's own loop over them is up to sixty times slower. But float64 adds and multiplies
integers exactly as long as no sum can exceed 2**53. Where one could, the items are written with digits of 22 bits,
from -2**21 to 2**21 - 1: a product of two digits is at most 2**42, so 2**11 of them may be summed. The product of the
digits i and j counts 2**(22 * (i + j)); what counts 2**66 is a multiple of 2**64, so of three digits a side six
products of matrices are left.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from oche.kernels.stopping import Array, StopByte, look

#: Terms of the sums between two looks at the stop byte: a sixth of a second for a block of 2**20 items.
DEPTH = 4096
#: Integers up to here are float64s, and those up to the other float32s, with all that lie between.
EXACT, EXACT_SINGLE = 2**53, 2**24
BITS = 22
#: Terms of a sum of products of two digits that are exact: 2**(53 - 2 * 21).
DIGIT_DEPTH = 2**11


def product(a: Array, b: Array, stop: StopByte | None = None) -> Array:
    """a @ b of two matrices of booleans or numbers, in numpy's dtype for that: `np.result_type(a, b)`.

    Floats and complex numbers: |C - A B| <= k * eps * |A| |B|, item by item, for k terms a sum; always the same bits
    for the same items where BLAS has the same number of threads and the same processor. float16 is summed in float32.
    Integers and booleans: what numpy gives, exactly. Looks at `stop[0]` a few times a second: raises `CancelledError`
    once it is not zero.
    """
    kind: np.dtype[Any] = np.result_type(a, b)
    if kind.kind == "b":  # a rounded sum of ones is zero only if there is none
        return _by_blas(a, b, np.dtype(np.float32), stop).astype(kind)
    if kind.kind in "iu":
        return _whole(a, b, stop).astype(kind)
    return _by_blas(a, b, np.dtype(np.float32) if kind == np.float16 else kind, stop).astype(kind, copy=False)


def _whole(a: Array, b: Array, stop: StopByte | None) -> Array:
    """The product of integers modulo 2**64."""
    most = a.shape[1] * _reach(a) * _reach(b)
    if most <= EXACT:
        kind = np.dtype(np.float32 if most <= EXACT_SINGLE else np.float64)
        return _by_blas(a, b, kind, stop).astype(np.int64)
    total = np.zeros((a.shape[0], b.shape[1]), np.uint64)
    for left, right in _panels(a, b, DIGIT_DEPTH, stop):
        columns = _digits(right)
        for i, x in enumerate(_digits(left)):
            for j, y in enumerate(columns[: 3 - i]):
                total += (x @ y).astype(np.int64).view(np.uint64) << np.uint64(BITS * (i + j))
    return total


def _by_blas(a: Array, b: Array, kind: np.dtype[Any], stop: StopByte | None) -> Array:
    parts = (
        left.astype(kind, copy=False) @ right.astype(kind, copy=False) for left, right in _panels(a, b, DEPTH, stop)
    )
    whole: Array = functools.reduce(operator.iadd, parts)
    return whole


def _panels(a: Array, b: Array, depth: int, stop: StopByte | None) -> Iterator[tuple[Array, Array]]:
    """Columns of a and rows of b, so many at a time; one pair at least, as there is always a sum."""
    for lo in range(0, max(1, a.shape[1]), depth):
        look(stop, f"before term {lo} of {a.shape[1]}")
        yield a[:, lo : lo + depth], b[lo : lo + depth]


def _reach(x: Array) -> int:
    """The largest magnitude."""
    return max(int(x.max()), -int(x.min())) if x.size else 0


def _digits(x: Array) -> list[Array]:
    """x = d0 + d1 * 2**22 + d2 * 2**44 modulo 2**64, with as many digits as x needs."""
    half, mask = 2 ** (BITS - 1), 2**BITS - 1
    rest, digits = x.astype(np.int64), list[Array]()
    while not digits or rest.any():
        digit = ((rest + half) & mask) - half
        rest = (rest - digit) >> BITS
        digits.append(digit.astype(np.float64))
    return digits


def product_plain(a: Array, b: Array) -> Array:
    """What `product` computes, in plain Python, an item at a time: its oracle. Floats are summed as Python's are."""
    columns = b.T.tolist()
    cells = [[dot_plain(row, column) for column in columns] for row in a.tolist()]
    return array_of(cells, (a.shape[0], b.shape[1]), np.result_type(a, b))


def dot_plain(row: list[Any], column: list[Any]) -> Any:
    """The sum of row[i] * column[i], from the first to the last; 0 if there is none."""
    times: Callable[[Any, Any], Any] = operator.mul
    return sum(map(times, row, column))


def array_of(cells: list[list[Any]], shape: tuple[int, int], kind: np.dtype[Any]) -> Array:
    """Rows of Python's numbers as an array; integers are taken modulo what the dtype holds, as numpy's overflow is."""
    items = np.array(cells, object).reshape(shape)
    return (items % 2**64).astype(np.uint64).astype(kind) if kind.kind in "iu" else items.astype(kind)
