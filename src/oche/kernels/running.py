"""Running sums of floats, added one after the other: the very bits of `np.cumsum`, in a third of its time.

Numpy adds to what it has just written to memory, and waits for that each time; here the sum stays in a register.
A call takes a block, a few milliseconds of work, so nobody needs to stop it.
"""

from __future__ import annotations

from typing import Any

from numba import types

from oche.kernels.compiling import compiled_for
from oche.kernels.stopping import Array


def _total(values: Array) -> Any:
    total = values[0]
    for i in range(1, values.size):
        total += values[i]
    return total


def _running(values: Array, before: Any, out: Array) -> Any:
    total = values[0]
    out[0] = before + total
    for i in range(1, values.size):
        total += values[i]
        out[i] = before + total
    return total


# Values of any strides, and read-only, as shared arrays are: numba takes writable ones for that, too.
_SEEN = {real: types.Array(real, 1, "A", readonly=True) for real in (types.float32, types.float64)}
_total_compiled = compiled_for([real(seen) for real, seen in _SEEN.items()])(_total)
_running_compiled = compiled_for([real(seen, real, real[::1]) for real, seen in _SEEN.items()])(_running)


def total(values: Array) -> Any:
    """The sum of one or more float32 or float64, from the first to the last: `np.cumsum(values)[-1]`."""
    return values.dtype.type(_total_compiled(values))


def running(values: Array, before: Any, out: Array) -> Any:
    """Fills `out`, C-contiguous, with before + each running sum of one or more float32 or float64 of its dtype.

    Returns `total(values)`. -0.0 before changes nothing: it leaves every float as it is, the sign of zero included.
    """
    return values.dtype.type(_running_compiled(values, before, out))


def total_plain(values: Array) -> Any:
    """What `total` computes, in plain Python: its oracle."""
    found = values[0]
    for value in values[1:]:
        found = found + value
    return found


def running_plain(values: Array, before: Any, out: Array) -> Any:
    """What `running` does, in plain Python: its oracle."""
    for i in range(values.size):
        out[i] = before + total_plain(values[: i + 1])
    return total_plain(values)
