"""A flag that processes share: one of them sets it, the others see that, and stop.

with MemoryFlag() as found:                     # or any other kind: all have this face
    pool.map(partial(search, found), parts)     # each looks at found.is_set() now and then

kind                  file                   one look costs
MemoryFlag            flag_memory.py         a read of memory; the one to take
MmapFlag              flag_mmap.py           the same
SharedMemoryFlag      flag_shared_memory.py  the same
RawValueFlag          flag_raw_value.py      the same
FileFlag              flag_file.py           a call of the kernel
ManagerFlag           flag_manager.py        a message to another process and back
RedisFlag             flag_redis.py          a message to a server and back
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from typing import ClassVar, Protocol, Self


class Reach(enum.IntEnum):
    """How far a flag can be given; each reach includes those before it."""

    FORK = 0  #: to processes forked while it is there
    CHILD = 1  #: to a child process as it is started, whatever the start method
    FAMILY = 2  #: pickled, to any process of the same multiprocessing family
    MACHINE = 3  #: pickled, to any process of this user on this machine
    NETWORK = 4  #: pickled, to other machines


class Flag(ABC):
    """Set or clear; clear at first. Given to another process as far as `reach` says, it is the same flag there.

    Who makes a flag ends it with `close`; the others' `close` ends only their own use.
    """

    reach: ClassVar[Reach]

    @abstractmethod
    def set(self) -> None:
        """From when this returns, everybody sees it set."""

    @abstractmethod
    def clear(self) -> None:
        """From when this returns, everybody sees it clear."""

    @abstractmethod
    def is_set(self) -> bool:
        """Whether it is set. Raises `ValueLost` where somebody else keeps the flag and has it no longer."""

    @abstractmethod
    def close(self) -> None:
        """Not to be used here any more. May be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Byte(Protocol):
    """One byte of shared memory, at index 0."""

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...


class ByteFlag(Flag):
    """A flag that is one byte of shared memory; compiled loops take `byte` as their stop byte."""

    byte: Byte

    def set(self) -> None:
        self.byte[0] = 1

    def clear(self) -> None:
        self.byte[0] = 0

    def is_set(self) -> bool:
        return self.byte[0] != 0
