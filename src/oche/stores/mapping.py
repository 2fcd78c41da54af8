"""What drivers share whose values are open files: their bytes written in pieces, and mapped."""

from __future__ import annotations

import functools
import mmap
import os
import sys
import weakref
from collections.abc import Callable, Iterable

from oche.errors import StoreError
from oche.stores.seam import Buffer

#: Bytes of a value that is copied rather than mapped for who takes it: until Python 3.13 each mapping holds an open
#: file, and small results may be kept by the thousand.
SMALL = 1 << 20


def flat(data: Buffer) -> memoryview:
    """C-contiguous data as bytes."""
    view = memoryview(data)
    return view.cast("B") if view.nbytes else memoryview(b"")  # an empty one with sides cannot be cast


def write_pieces(fd: int, name: str, pieces: Iterable[tuple[int, Buffer]]) -> None:
    """Writes at these places of a value, never beyond its end."""
    size = os.fstat(fd).st_size
    for start, data in pieces:
        rest = flat(data)
        if start < 0 or start + rest.nbytes > size:
            raise StoreError(f"{rest.nbytes:,} bytes at {start:,} do not fit {name}, which has {size:,}")
        while rest:  # the kernel takes 2 GiB at a time at most
            written = os.pwrite(fd, rest, start)
            rest, start = rest[written:], start + written


def map_all(fd: int, access: int) -> memoryview:
    """All of an open file, mapped; unmapped when nobody refers to it any more."""
    size = os.fstat(fd).st_size
    if not size:  # nothing cannot be mapped
        return memoryview(b"") if access == mmap.ACCESS_READ else memoryview(bytearray())
    try:
        if sys.version_info >= (3, 13):
            return memoryview(mmap.mmap(fd, size, access=access, trackfd=False))
        whole = mmap.mmap(fd, size, access=access)
    except OSError as error:
        raise StoreError(
            f"a value of {size:,} bytes cannot be mapped: {error.strerror}; raise this process's limits"
        ) from error
    if access == mmap.ACCESS_COPY and size < SMALL:
        with whole:
            return memoryview(bytearray(whole))
    return memoryview(whole)


def in_children(forget: Callable[[], None]) -> None:
    """Has this method called in every process that this one forks, as long as its object lives.

    A forked child has copies of all open files: without this it would hold values that their owner has deleted, and
    keep an owner's lock when the owner is dead.
    """
    _called_in_children().append(weakref.WeakMethod(forget))


@functools.cache
def _called_in_children() -> list[weakref.WeakMethod[Callable[[], None]]]:
    """One list for the process: what is registered with the system stays for ever."""
    methods: list[weakref.WeakMethod[Callable[[], None]]] = []

    def call() -> None:
        for method in methods:
            if (there := method()) is not None:
                there()

    os.register_at_fork(after_in_child=call)
    return methods
