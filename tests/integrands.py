"""Functions to integrate, importable by workers; each knows no more than numpy."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
#: Below this, `gap` has none of its values.
GAP = 2e-5


def ball(x: Array) -> Array:
    """1 inside the unit ball, else 0."""
    return (np.square(x).sum(axis=1) < 1).astype(float)


def slow_ball(x: Array) -> Array:
    time.sleep(0.02)
    return ball(x)


def wave(x: Array) -> Array:
    """cos(sum of coordinates) * exp(first one): no two values alike, none exact."""
    return np.cos(x.sum(axis=1)) * np.exp(x[:, 0])


def squares(x: Array) -> Array:
    """Sum of squares: d / 3 over the unit cube."""
    return np.square(x).sum(axis=1)


def cubic(x: Array) -> Array:
    """4 x^3 in the first coordinate: 1 over the unit cube."""
    return 4 * x[:, 0] ** 3


def gap(x: Array) -> Array:
    """Not a number in some points of the unit cube."""
    return np.where(x[:, 0] < GAP, np.nan, x[:, 0])


def column(x: Array) -> Array:
    return x


def turning(x: Array) -> Array:
    return 1j * x[:, 0]


def words(x: Array) -> Array:
    return x[:, 0].astype(str)


def late_error(x: Array) -> Array:
    """Raises in some blocks, with what is there."""
    if x[:, 0].min() < 1e-5:
        raise LookupError("a hole at", float(x[:, 0].min()))
    return x[:, 0]
