"""Node numbers that a user gave, checked and made ready for the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from oche.errors import ConfigError
from oche.stores.arrays import Array


def node_numbers(given: Any, name: str) -> Array:
    """Integers of any shape as int32 or int64, C-contiguous; an empty array may be of any dtype.

    Raises `ConfigError`, which calls them `name`, for other dtypes, and for what is above all of int64.
    """
    found = np.asarray(given)
    if not found.size:
        return np.empty(found.shape, np.int64)
    if found.dtype.kind not in "iu":
        raise ConfigError(f"{name} is of {found.dtype}; give node numbers as integers, such as astype(np.int64)")
    if found.dtype == np.uint64 and (found > np.iinfo(np.int64).max).any():
        raise ConfigError(f"{name} holds {found.max()}, which is no node; only a signed dtype can hold a -1")
    return np.asarray(found, found.dtype if found.dtype in (np.int32, np.int64) else np.int64, order="C")


def node_row(given: Any, name: str) -> Array:
    """The same for one row, name[i] of node i; raises `ConfigError` for other shapes, too."""
    if np.ndim(given) != 1:
        raise ConfigError(f"{name} has the shape {np.shape(given)}; give one row of nodes, {name}[i] of node i")
    return node_numbers(given, name)
