"""Values in memory that the processes of this machine share, without a name anywhere in the file system.

A value is a memfd of the process that made it (`memfd`): there is nothing to sweep, and nothing in /dev/shm. Linux;
elsewhere `files:` does the same, less strictly.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Iterable
from typing import Self

from oche.errors import ConfigError
from oche.stores import memfd
from oche.stores.given import Given
from oche.stores.mapping import flat, in_children, map_all, write_pieces
from oche.stores.seam import Buffer, Store, Traits

URL = "memory:"


class SharedMemoryStore(Store):
    """The values of this process, and the way to those of others."""

    traits = Traits(here_only=True, mapped=True, pieces=True, keeps=True)
    url = URL

    def __init__(self) -> None:
        memfd.check_supported()
        self._mine: dict[str, int] = {}
        self._given = Given()
        self._lock = threading.Lock()
        in_children(self._forget)

    @classmethod
    def open(cls, url: str) -> Self:
        """`memory:` and nothing else."""
        if url != URL:
            raise ConfigError(f"{url!r} has something after `{URL}`; leave it out")
        return cls()

    def put(self, data: Buffer) -> str:
        whole = flat(data)
        name = self.create(whole.nbytes)
        try:
            self.write(name, 0, whole)
        except BaseException:
            self.delete(name)
            raise
        return name

    def create(self, size: int) -> str:
        fd, token = memfd.make(size)
        name = memfd.name_of(fd, token)
        with self._lock:
            self._mine[name] = fd
        return name

    def write(self, name: str, start: int, data: Buffer) -> None:
        self.write_many(name, [(start, data)])

    def write_many(self, name: str, pieces: Iterable[tuple[int, Buffer]]) -> None:
        fd = memfd.reach(name, os.O_RDWR)
        try:
            write_pieces(fd, name, pieces)
        finally:
            os.close(fd)

    def get(self, name: str) -> memoryview:
        return self._map(name, mmap.ACCESS_READ)

    def take(self, name: str) -> memoryview:
        """A private mapping: pages that the caller writes to become copies, all others stay shared."""
        return self._map(name, mmap.ACCESS_COPY)

    def _map(self, name: str, access: int) -> memoryview:
        fd = memfd.reach(name, os.O_RDONLY)
        try:
            return map_all(fd, access)
        finally:
            os.close(fd)

    def give(self, data: Buffer) -> str:
        return self._given.give(self, data, self._is_accepted)

    def accept(self, name: str) -> memoryview:
        """A copy: the file itself, which only its maker can close, is emptied and marked."""
        fd = memfd.reach(name, os.O_RDWR)
        try:
            with map_all(fd, mmap.ACCESS_READ) as whole:
                data = bytes(whole)
            memfd.take_rights(fd)
        finally:
            os.close(fd)
        return memoryview(data)

    def _is_accepted(self, name: str) -> bool:
        fd = self._mine.get(name)
        return fd is None or not memfd.has_rights(fd)

    def delete(self, name: str) -> None:
        with self._lock:
            fd = self._mine.pop(name, None)
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        for name in list(self._mine):
            self.delete(name)

    def _forget(self) -> None:
        """In a forked child: they are the parent's, who can be asked for them."""
        self._lock = threading.Lock()  # that another thread of the parent may have held
        self._given = Given()
        self.close()
