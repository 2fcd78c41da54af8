"""The page: a little memory that a worker's parent and one child share.

    byte 0       stop: not zero once the job that runs should end; kernels poll it
    bytes 8-15   unsigned: place of the call that runs, or `IDLE`, or `LOADING`
    bytes 16-23  float: time.monotonic() when that call began, in seconds; 0 unless the job has a time limit

The child writes its place before each call, so that its parent knows whom to blame when it dies: a plain
store into shared memory, which outlives the process and costs some 30 ns.
"""

from __future__ import annotations

import mmap
import os

#: No job: what the child does not run cannot have killed it.
IDLE = 2**64 - 1
#: A job is being decoded, its task imported or its results encoded: any of its calls may be to blame.
LOADING = 2**64 - 2

#: Bytes of it.
SIZE = 32


def open_page() -> int:
    """A new page without a name, all zero, as a file descriptor that children may inherit by `pass_fds`."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("oche-page")
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.truncate(fd, SIZE)
    return fd


def new_page() -> Page:
    """One that nobody else sees."""
    fd = open_page()
    try:
        return Page(fd)
    finally:
        os.close(fd)


class Page:
    """A view of the page behind a file descriptor; the descriptor may be closed afterwards."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, SIZE)
        whole = memoryview(self._map)
        self.stop = whole[0:1]  #: one byte
        self.place = whole[8:16].cast("Q")  #: one unsigned: a call, `IDLE` or `LOADING`
        self.began = whole[16:24].cast("d")  #: one float, monotonic seconds

    def clear(self) -> None:
        """As it is between two jobs."""
        self.stop[0] = 0
        self.began[0] = 0.0
        self.place[0] = IDLE
