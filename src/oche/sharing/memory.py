"""Bytes that processes of this machine share, known by a name that is nowhere in the file system.

    memory = Memory.create(8)                      # zeros
    Memory.attach(memory.name).map()[0]            # in any other process of this user
    pickle.dumps(memory)                           # carries the name

It is a memfd that others open by way of `/proc/PID/fd/N`, as the values of the store `memory:` are. The kernel counts
who has it open or mapped and frees it with the last of them, however they end. Linux.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import weakref
from collections.abc import Callable
from typing import Self

from oche.errors import ValueLost
from oche.stores import memfd


class Memory:
    """An open file in memory. Pickled, or inherited by fork, it is the same memory.

    A name and a pickle hold as long as the process that made them has this object open.
    """

    def __init__(self, fd: int, token: str, *, readonly: bool = False) -> None:
        """Takes the open file for its own; the token is the file's name, which tells it from later ones."""
        self._fd = fd
        self._token = token
        self.readonly = readonly
        self.close = weakref.finalize(self, os.close, fd)  #: may be called twice

    @property
    def fd(self) -> int:
        """The open file. Raises `ValueLost` after `close`: the number may mean another file by then."""
        if not self.close.alive:
            raise ValueLost("this shared memory was closed here; close it later, or attach to it again")
        return self._fd

    @classmethod
    def create(cls, size: int) -> Self:
        """`size` bytes, all zero. Raises `StoreFull`, before anything is written, where the machine has no room."""
        memfd.check_supported()
        return cls(*memfd.make(size))

    @classmethod
    def attach(cls, name: str, readonly: bool = False) -> Self:
        """What a process of this machine calls so. Raises `ValueLost` where that process ended or closed it."""
        fd = memfd.reach(name, os.O_RDONLY if readonly else os.O_RDWR)
        return cls(fd, name.rpartition(".")[2], readonly=readonly)

    def reopen(self) -> Self:
        """The same memory as another open file: locks belong to those, and forked processes share them."""
        return type(self)(os.open(f"/proc/self/fd/{self.fd}", os.O_RDWR | os.O_CLOEXEC), self._token)

    @property
    def name(self) -> str:
        """By which other processes attach to it."""
        return memfd.name_of(self.fd, self._token)

    def map(self) -> mmap.mmap:
        """All of it, mapped until nobody refers to the map any more; `close` does not end that."""
        return mmap.mmap(self.fd, 0, access=mmap.ACCESS_READ if self.readonly else mmap.ACCESS_WRITE)

    def map_part(self, start: int, size: int) -> memoryview:
        """Some of it, writable, with its pages there at once: one call of the kernel instead of a fault for each."""
        before = start % mmap.ALLOCATIONGRANULARITY
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        return memoryview(mmap.mmap(self.fd, before + size, flags=flags, offset=start - before))[before:]

    def __reduce__(self) -> tuple[Callable[..., Memory], tuple[str, bool]]:
        return type(self).attach, (self.name, self.readonly)


def try_lock(memory: Memory, kind: int) -> bool:
    """Takes `fcntl.LOCK_SH` or `fcntl.LOCK_EX`, if nobody is in the way, until the open file is closed or unlocked."""
    try:
        fcntl.flock(memory.fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
