"""The byte by which a kernel is called off, and the type of the arrays that kernels work on."""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import Any, Protocol, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, Any]"


class StopByte(Protocol):
    """One byte that another thread or process may set: a memoryview, a bytearray, a uint8 array."""

    def __getitem__(self, index: int, /) -> int: ...


def look(stop: StopByte | None, where: str) -> None:
    """Raises `CancelledError`, which says where the kernel was, once the byte is not zero."""
    if stop is not None and stop[0]:
        raise CancelledError(f"called off {where}")
