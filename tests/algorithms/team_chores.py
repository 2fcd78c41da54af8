"""Tasks for the tests of `Team`, importable by workers."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

import oche
from oche.algorithms.team import CRASHES
from oche.stores.arrays import Array, ArrayRef, Shared, place, view
from oche.wire.task import task


@task(crashes=CRASHES)
def double(lo: int, hi: int, *, shared: Shared, out: ArrayRef) -> Array | None:
    """Rows lo .. hi - 1 of the result."""
    return place(out, (lo,), 2 * view(shared)[lo:hi])


@task(crashes=CRASHES)
def slow_double(lo: int, hi: int, *, shared: Shared, out: ArrayRef) -> Array | None:
    """As above, in its own time."""
    time.sleep(0.1)
    return place(out, (lo,), 2 * view(shared)[lo:hi])


def times(x: int, y: int, *, scale: int = 1) -> int:
    return scale * x * y


def fail_at(x: int, *, bad: int, folder: str) -> int:
    """Leaves a file for each call that began; raises for one of them, and takes its time over the others."""
    (Path(folder) / str(x)).touch()
    if x == bad:
        raise ValueError(f"bad {x}")
    end = time.monotonic() + 0.05
    while time.monotonic() < end and not oche.stopping():
        time.sleep(0.002)
    return x


def meet(x: int, *, folder: str, of: int) -> bool:
    """Lasts until so many of these run at one time, so that nothing else runs there any more; half a minute at most."""
    (Path(folder) / str(x)).touch()
    end = time.monotonic() + 30
    while len(os.listdir(folder)) < of and time.monotonic() < end:
        time.sleep(0.002)
    return time.monotonic() < end


def multiple_of(lo: int, hi: int, *, n: int, least: int) -> int | None:
    """The first multiple of n in lo .. hi - 1 that is not below `least`."""
    found = max(-(-lo // n) * n, -(-least // n) * n)
    return found if found < hi else None


def who(_: int) -> int:
    return os.getpid()


def shared_kind(*, shared: Any, out: ArrayRef) -> tuple[str, str]:
    """Where a worker finds them."""
    return getattr(shared, "store", type(shared).__name__), out.store


def total(lo: int, hi: int, *, shared: Shared) -> float:
    return float(np.sum(view(shared)[lo:hi]))
