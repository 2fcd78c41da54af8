"""Files in memory that have no name in any file system, and the way to those of other processes of this machine.

A process opens another's as `/proc/PID/fd/N`. The kernel counts who has such a file open or mapped, and frees it with
the last of them, however they end. Linux; the path is open to processes of the same user only.
"""

from __future__ import annotations

import errno
import os
import re

from oche.errors import StoreError, StoreFull, Unsupported, ValueLost

#: Share of the machine's free memory that one file may take: the rest is for whoever computes with it.
SHARE = 0.9

#: Process, its number for the file, and a token that is the file's own name: numbers come again, also in the next
#: life of a named run, whose journal must not take one value for another.
_NAME = re.compile(r"(\d{1,10})\.(\d{1,10})\.([0-9a-f]{16})", re.ASCII)
#: What opening says of a process or a file of its that is not there, or not ours, or by now something else.
_GONE = {errno.ENOENT, errno.ESRCH, errno.EACCES, errno.EPERM, errno.ENXIO, errno.ENODEV}


def check_supported() -> None:
    """Raises `Unsupported` where the system has none of this."""
    if not hasattr(os, "memfd_create") or not os.path.isdir("/proc/self/fd"):
        raise Unsupported(
            "memory without a name needs Linux and a Python built with memfd_create; take a folder instead, "
            "store='files:///path', or multiprocessing.shared_memory"
        )


def make(size: int) -> tuple[int, str]:
    """A new file of `size` zero bytes: its number in this process, and its token.

    Raises `StoreFull`, before anything is written, where the machine has no room.
    """
    free = free_memory()
    if free is not None and size > SHARE * free:
        raise StoreFull(
            f"{size:,} bytes do not fit this machine's free memory of {free:,}; end what else runs, take less, or a "
            "store on disk (store='files:///path')"
        )
    token = os.urandom(8).hex()
    try:
        fd = os.memfd_create(f"oche-{token}", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, size)
        except BaseException:
            os.close(fd)
            raise
    except OSError as error:
        raise StoreFull(
            f"there is no room for {size:,} bytes in shared memory: {error.strerror}; raise this process's limits "
            "(ulimit -n), or take a store on disk (store='files:///path')"
        ) from error
    return fd, token


def name_of(fd: int, token: str) -> str:
    """By which other processes find a file of ours."""
    return f"{os.getpid()}.{fd}.{token}"


def reach(name: str, flags: int) -> int:
    """Opens the file that this name meant when it was made, not what may have its number now. Raises `ValueLost`."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueLost(f"{name[:100]!r} is not the name of a value in shared memory")
    pid, number, token = match.groups()
    try:
        # What came later may be a pipe, whose opening must not wait for its other end.
        fd = os.open(f"/proc/{pid}/fd/{number}", flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno in _GONE:
            raise _lost(name) from error
        raise StoreError(f"the value {name} cannot be opened: {error.strerror}; raise this process's limits") from error
    # One without any rights was accepted: for root they are no obstacle.
    if os.readlink(f"/proc/self/fd/{fd}") == f"/memfd:oche-{token} (deleted)" and has_rights(fd):
        return fd
    os.close(fd)
    raise _lost(name)


def has_rights(fd: int) -> bool:
    """False once `take_rights` was called for the file, by whomever."""
    return bool(os.fstat(fd).st_mode & 0o777)


def take_rights(fd: int) -> None:
    """Empties the file, and marks it as one that has had its reader."""
    os.fchmod(fd, 0)
    os.ftruncate(fd, 0)


def _lost(name: str) -> ValueLost:
    return ValueLost(
        f"the value {name} is not in this machine's shared memory: process {name.partition('.')[0]} ended or deleted "
        "it, is another user's, or runs on another machine (then take a store that all machines reach)"
    )


def free_memory() -> int | None:
    """Bytes that can be had without swapping; None where the system does not tell. A container's limit is not seen."""
    try:
        with open("/proc/meminfo", "rb") as info:
            for line in info:
                if line.startswith(b"MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None
