"""A flag by `multiprocessing.shared_memory`: a byte with a name in /dev/shm."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory

from oche.errors import ValueLost
from oche.sharing.flag import ByteFlag, Reach

FOLDER = "/dev/shm"


class SharedMemoryFlag(ByteFlag):
    """One byte under a name. Its maker's resource tracker removes the name, also when the maker is killed."""

    reach = Reach.MACHINE

    def __init__(self) -> None:
        self._made: SharedMemory | None = SharedMemory(create=True, size=1)
        self._maker = os.getpid()
        self.name = self._made.name
        self._open()

    def _open(self) -> None:
        # Not by SharedMemory(name): until Python 3.13 whoever attaches so has the name removed at its own end.
        try:
            fd = os.open(f"{FOLDER}/{self.name}", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise ValueLost(f"{FOLDER}/{self.name} is gone: the flag's maker closed it or ended") from error
        try:
            self._map = self.byte = mmap.mmap(fd, 1)
        finally:
            os.close(fd)

    def close(self) -> None:
        self._map.close()
        if self._made is not None:
            made, self._made = self._made, None
            made.close()
            if self._maker == os.getpid():
                made.unlink()

    def __reduce__(self) -> tuple[Callable[..., SharedMemoryFlag], tuple[str]]:
        return _attached, (self.name,)


def _attached(name: str) -> SharedMemoryFlag:
    flag = SharedMemoryFlag.__new__(SharedMemoryFlag)
    flag.name = name
    flag._made = None
    flag._open()
    return flag
