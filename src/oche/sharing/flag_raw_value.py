"""A flag by `multiprocessing.RawValue`: a C byte that child processes are given as they start."""

from __future__ import annotations

import ctypes
import multiprocessing
from multiprocessing.context import get_spawning_popen
from typing import Any

from oche.errors import Unsendable
from oche.sharing.flag import Flag, Reach


class RawValueFlag(Flag):
    """A `c_byte` without a lock; a byte cannot be half written."""

    reach = Reach.CHILD

    def __init__(self) -> None:
        self._value = multiprocessing.RawValue(ctypes.c_byte, 0)

    def set(self) -> None:
        self._value.value = 1

    def clear(self) -> None:
        self._value.value = 0

    def is_set(self) -> bool:
        return bool(self._value.value)

    def close(self) -> None:
        """Nothing: the value ends with the last process that has it."""

    def __getstate__(self) -> dict[str, Any]:
        if get_spawning_popen() is None:
            raise Unsendable(
                "a RawValueFlag goes to a child process as that starts, as an argument of Process or of a pool's "
                "initializer; take a MemoryFlag to send one later"
            )
        return self.__dict__
