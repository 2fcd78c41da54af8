"""Tasks for the tests of what oche is plugged into, importable by workers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np


def total(array: Any, place: int) -> tuple[int, float, bool]:
    """The sum, whose it is, and whether the array may be written."""
    return place, float(array.sum()), bool(array.flags.writeable)


def spare_total(matrix: Any) -> float:
    return float(matrix.sum())


def filled(n: int) -> Any:
    """An array of its own for the caller."""
    return np.full(n, n)


def total_behind(array: Any, path: str) -> float:
    """The sum, once somebody has made a file."""
    while not os.path.exists(path):
        time.sleep(0.01)
    return float(array.sum())


def die_once(path: str, x: int) -> int:
    """Ends its process at the first call of all."""
    try:
        Path(path).touch(exist_ok=False)
    except FileExistsError:
        return x * x
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def inner_sum(n: int) -> int:
    """Calls of joblib inside of a call of joblib's."""
    import joblib

    from errands import square

    return sum(joblib.Parallel(n_jobs=2)(joblib.delayed(square)(i) for i in range(n)))


def touch(path: str) -> str:
    Path(path).touch()
    return path


def divided(a: int, b: int) -> float:
    return a / b


def reciprocal(x: int) -> float:
    return 1 / x


def environment(name: str) -> str:
    return os.environ[name]


def remember(name: str, value: str) -> None:
    os.environ[name] = value


def overwritten(array: Any) -> float:
    """What it was given, in sum; and nothing of that is left there."""
    found = float(array.sum())
    array[:] = -1.0
    return found
