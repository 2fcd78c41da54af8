"""A flag in nameless shared memory: as quick as any, goes to any process of the machine, leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable

from oche.sharing.flag import ByteFlag, Reach
from oche.sharing.memory import Memory


class MemoryFlag(ByteFlag):
    """One byte of shared memory."""

    reach = Reach.MACHINE

    def __init__(self) -> None:
        self._share(Memory.create(1))

    def _share(self, memory: Memory) -> None:
        self._memory = memory
        self._map = self.byte = memory.map()

    def close(self) -> None:
        self._memory.close()
        self._map.close()

    def __reduce__(self) -> tuple[Callable[..., MemoryFlag], tuple[Memory]]:
        return _attached, (self._memory,)


def _attached(memory: Memory) -> MemoryFlag:
    flag = MemoryFlag.__new__(MemoryFlag)
    flag._share(memory)
    return flag
