"""Atomic operations on an int64 that processes share: one instruction of the processor, nothing that can be held.

    shared = cell(memory)                 # the first 8 bytes of any writable buffer
    fetch_add(shared, 1)                  # by any number of processes: no update is lost

All are sequentially consistent: processes see them happen in one order. They are also for compiled code to call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numba import types
from numba.extending import intrinsic

from oche.errors import ConfigError
from oche.kernels.compiling import compiled_for

#: One int64, contiguous, and aligned to its 8 bytes.
Cell: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"

_ORDER = "seq_cst"
#: What it makes is called without the first of the arguments that it is written with.
_intrinsic: Callable[..., Any] = intrinsic


def cell(buffer: Any, offset: int = 0) -> Cell:
    """The 8 bytes at `offset` of a writable buffer (memoryview, mmap, array) as an array of one int64.

    Raises `ConfigError` where they are not there, read-only, or not at a multiple of 8: the processor would not
    take them in one piece.
    """
    view = memoryview(buffer)
    if view.readonly or not view.contiguous or not 0 <= offset <= view.nbytes - 8:
        kind = "read-only" if view.readonly else "in pieces" if not view.contiguous else f"of {view.nbytes} bytes"
        raise ConfigError(f"no atomic integer fits at byte {offset} of a buffer that is {kind}; give 8 writable bytes")
    one = np.frombuffer(view.cast("B"), np.int64, 1, offset)
    if not one.flags.aligned or one.ctypes.data % 8:
        raise ConfigError(f"byte {offset} of this buffer is not at a multiple of 8 in memory; choose another offset")
    return one


def _place(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return context.make_array(signature.args[0])(context, builder, arguments[0]).data


@_intrinsic
def _rmw_add(_context: Any, shared: Any, value: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("add", _place(context, builder, signature, arguments), arguments[1], _ORDER)

    return types.int64(shared, types.int64), code


@_intrinsic
def _rmw_exchange(_context: Any, shared: Any, value: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("xchg", _place(context, builder, signature, arguments), arguments[1], _ORDER)

    return types.int64(shared, types.int64), code


@_intrinsic
def _compare_exchange(_context: Any, shared: Any, expected: Any, value: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature, arguments)
        return builder.extract_value(builder.cmpxchg(place, arguments[1], arguments[2], _ORDER, _ORDER), 0)

    return types.int64(shared, types.int64, types.int64), code


@_intrinsic
def _load(_context: Any, shared: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_place(context, builder, signature, arguments), _ORDER, 8)

    return types.int64(shared), code


@_intrinsic
def _store(_context: Any, shared: Any, value: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store_atomic(arguments[1], _place(context, builder, signature, arguments), _ORDER, 8)
        return context.get_dummy_value()

    return types.void(shared, types.int64), code


# With the GIL, which takes longer to let go.
@compiled_for("int64(int64[::1], int64)", nogil=False)
def fetch_add(shared: Cell, value: int) -> int:
    """Adds, and returns what was there before. Beyond 2**63 - 1 it goes on from -2**63."""
    old: int = _rmw_add(shared, value)
    return old


@compiled_for("int64(int64[::1], int64)", nogil=False)
def exchange(shared: Cell, value: int) -> int:
    """Puts the value, and returns what was there before."""
    old: int = _rmw_exchange(shared, value)
    return old


@compiled_for("int64(int64[::1], int64, int64)", nogil=False)
def compare_exchange(shared: Cell, expected: int, value: int) -> int:
    """Puts the value if `expected` is there, and returns what was there: `expected` if it was put."""
    old: int = _compare_exchange(shared, expected, value)
    return old


@compiled_for("int64(int64[::1])", nogil=False)
def load(shared: Cell) -> int:
    """What is there."""
    value: int = _load(shared)
    return value


@compiled_for("void(int64[::1], int64)", nogil=False)
def store(shared: Cell, value: int) -> None:
    """Puts the value."""
    _store(shared, value)


def fetch_add_plain(shared: Cell, value: int) -> int:
    """What `fetch_add` does, for one process alone: its oracle; the next ones are those of the others."""
    old = int(shared[0])
    shared[0] = (old + value + 2**63) % 2**64 - 2**63
    return old


def exchange_plain(shared: Cell, value: int) -> int:
    """`exchange`, for one process alone."""
    old = int(shared[0])
    shared[0] = value
    return old


def compare_exchange_plain(shared: Cell, expected: int, value: int) -> int:
    """`compare_exchange`, for one process alone."""
    old = int(shared[0])
    if old == expected:
        shared[0] = value
    return old
