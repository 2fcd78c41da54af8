"""Associative operators, as numpy's ufuncs and as functions of two values, behind one face.

A ufunc works on numpy's values, by its own rules of dtypes. A function is called for one pair after the other, with
Python values as `ndarray.tolist` gives them (int, float, bytes, a tuple for a record), and its results have the
array's dtype; a call costs what Python calls cost, 0.1 microseconds and more.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numpy as np

from oche.algorithms.team import CRASHES
from oche.errors import ConfigError
from oche.stores.arrays import Array
from oche.wire.task import task

R = TypeVar("R")

Operator: TypeAlias = "np.ufunc | Callable[[Any, Any], Any]"

#: Items a block for a ufunc: a millisecond or more of work, several times what a call costs; it fits the cache.
BLOCK = 2**20
#: Items a block at most for a function: at least a few ms.
BLOCK_OF_FUNCTION = 2**14
#: Blocks of shorter arrays, for functions that take long.
FEW = 64
#: Kinds of dtypes that a Python value might be cut short for in silence.
_NARROW = "biuSU"


def checked(op: Operator) -> Operator:
    """The operator. Raises `ConfigError` for what takes no two values or is not callable."""
    if isinstance(op, np.ufunc):
        if (op.nin, op.nout, op.signature) == (2, 1, None):
            return op
    elif callable(op):
        return op
    raise ConfigError(
        f"op = {op!r} does not make one value of two; take np.add, np.maximum or a function of two values"
    )


def block_size(op: Operator, n: int) -> int:
    """Items a block: by the problem alone, so that floats are added in the same order everywhere."""
    return BLOCK if isinstance(op, np.ufunc) else min(BLOCK_OF_FUNCTION, max(1, n // FEW))


def kind_of(op: Operator, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of results. Raises `ConfigError` where the ufunc takes no such items."""
    kind = dtype
    if isinstance(op, np.ufunc):
        try:
            kind = op.accumulate(np.empty(0, dtype)).dtype
        except (TypeError, ValueError) as error:
            reason = f"np.{op.__name__} does not work on items of {dtype} ({error})"
            raise ConfigError(f"{reason}; convert the array, or take another op") from error
    if kind.hasobject or dtype.hasobject:
        raise ConfigError(f"items of {dtype} under {op!r} are Python objects, which have no bytes; convert the array")
    return kind


def identity(op: Operator, kind: np.dtype[Any]) -> Any:
    """What changes no other value; None where the operator tells none."""
    known = op.identity if isinstance(op, np.ufunc) else None
    return None if known is None else np.asarray(known).astype(kind)[()]


def fitting(op: Operator, initial: Any, kind: np.dtype[Any]) -> Any:
    """`initial` as the operator sees values. Raises `ConfigError` for one that does not fit the results' dtype."""
    try:
        if kind.names is None:
            if np.shape(initial):
                raise TypeError(f"it has the shape {np.shape(initial)}")
            # A text by itself would be taken for the name of a dtype.
            wanted = np.result_type(kind, np.asarray(initial) if isinstance(initial, (str, bytes)) else initial)
            if wanted != kind:
                raise TypeError(f"it would need {wanted}")
        value = np.array(initial, kind)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"initial = {initial!r} is no value of {kind} ({error}); convert it or the array") from error
    return value[()] if isinstance(op, np.ufunc) else value.tolist()


def steady(work: Callable[..., R], op: Operator) -> Callable[..., R]:
    """A call that goes on through many lost workers, if it has a ufunc; a function that raises is not called again."""
    return task(work, crashes=CRASHES) if isinstance(op, np.ufunc) else work


def reduced(op: Operator, block: Array) -> Any:
    """All items of a block in one, in any order that numpy likes."""
    return op.reduce(block) if isinstance(op, np.ufunc) else functools.reduce(op, block.tolist())


def total(op: Operator, block: Array, kind: np.dtype[Any]) -> Any:
    """All items of a block in one, strictly one after the other: the last of its running values."""
    if not isinstance(op, np.ufunc):
        return functools.reduce(op, block.tolist())
    if op is np.add and block.dtype == kind and kind.char in "fd":
        from oche.kernels import running as kernel

        return kernel.total(block)
    exact = kind.kind in "biu" or op in (np.maximum, np.minimum)
    return op.reduce(block) if exact else op.accumulate(block)[-1]


def running(op: Operator, block: Array, before: Any, out: Array) -> Any:
    """Fills `out` with the running values of a block; `before` is the total of all items before, None for none.

    Returns the `total` of the block, or None where that would take more calls of a function.
    """
    if not isinstance(op, np.ufunc):
        items = block.tolist()
        values = list(itertools.accumulate(items, op, initial=before))
        out[:] = _array(values[-len(items) :], out.dtype)
        return values[-1] if before is None else None
    if op is np.add and block.dtype == out.dtype and out.dtype.char in "fd":
        from oche.kernels import running as kernel

        return kernel.running(block, -0.0 if before is None else before, out)
    op.accumulate(block, out=out)
    found = out[-1]
    if before is not None:
        op(before, out, out=out)
    return found


def _array(values: list[Any], kind: np.dtype[Any]) -> Array:
    """What a function returned, as an array. Raises `ConfigError` for what does not fit."""
    try:
        made = np.array(values, kind)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"op returned what is no value of {kind} ({error}); convert the array first") from error
    if kind.kind in _NARROW and made.tolist() != values:
        wrong = next(value for value, kept in zip(values, made.tolist(), strict=True) if value != kept)
        raise ConfigError(f"op returned {wrong!r}, which {kind} cannot hold; convert the array first")
    return made
