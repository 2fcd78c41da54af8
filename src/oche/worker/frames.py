"""What a parent and its child say to each other over two pipes: frames of kind, number, length and body.

    parent                               child
      SETUP body=Setup            ---->    imports, runs the initializer
                                  <----  READY number=KiB that its peak must pass to be its own  | UNFIT body=Failure
      TRUSTED | UNTRUSTED         ---->    runs the calls, its place in the page
        number=attempt, body=job  <----  DONE body=outcome | MIXED body=outcome with failures | CALLED_OFF
                                         | STALE | MISSING | REFUSED body=Failure

The child encodes the outcome; the parent signs it and passes it on, and looks inside only when a call failed.
"""

from __future__ import annotations

import os
import struct
from typing import Final

import msgspec

from oche.wire.outcome import Failure

HEADER: Final = struct.Struct("<BIQ")
_CHUNK = 1 << 16

SETUP: Final = 1
TRUSTED: Final = 2  # a job under a valid signature
UNTRUSTED: Final = 3
READY: Final = 4
UNFIT: Final = 5  # the initializer failed
DONE: Final = 6
MIXED: Final = 7
CALLED_OFF: Final = 8
STALE: Final = 9  # this child loaded the module before it was edited; a fresh one may have the right code
MISSING: Final = 10  # not found, or wrong code: another node may do better
REFUSED: Final = 11


class Frame(msgspec.Struct, frozen=True):
    """One thing said."""

    kind: int
    number: int
    body: bytes | bytearray


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """The first frame to a child: who it is and how it begins."""

    worker: str  #: "host:pid/slot"
    slots: int  #: slots of the whole worker
    path: tuple[str, ...] = ()  #: goes before the child's own sys.path
    modules: tuple[str, ...] = ()  #: where tasks of unsigned jobs may come from
    initializer: bytes = b""  #: pickle of (callable, arguments)


def pack(kind: int, number: int, body: bytes) -> bytes:
    """A frame as bytes."""
    return HEADER.pack(kind, number, len(body)) + body


def write_all(fd: int, data: bytes) -> None:
    """Writes all of it to a blocking pipe. Raises `OSError` when nobody reads."""
    sent = os.write(fd, data)
    if sent < len(data):
        rest = memoryview(data)[sent:]
        while rest:
            rest = rest[os.write(fd, rest) :]


class Incoming:
    """Puts frames together from what a pipe gives."""

    def __init__(self) -> None:
        self._small = b""
        self._large: bytearray | None = None  # a whole frame, `_filled` bytes of it there
        self._filled = 0

    def fill(self, fd: int) -> bool:
        """Reads once; False at the end of the pipe. Raises `BlockingIOError` if a non-blocking pipe is empty."""
        if self._large is not None:
            got = os.readv(fd, [memoryview(self._large)[self._filled :]])
            self._filled += got
            return got > 0
        data = os.read(fd, _CHUNK)
        self._small = self._small + data if self._small else data
        return bool(data)

    def take(self) -> Frame | None:
        """The next frame once it is all there."""
        if self._large is not None:
            if self._filled < len(self._large):
                return None
            whole, self._large = self._large, None
            kind, number, _ = HEADER.unpack_from(whole)
            return Frame(kind, number, whole[HEADER.size :])
        small = self._small
        if len(small) < HEADER.size:
            return None
        kind, number, length = HEADER.unpack_from(small)
        size = HEADER.size + length
        if len(small) >= size:
            self._small = small[size:]
            return Frame(kind, number, small[HEADER.size : size])
        self._large = bytearray(size)
        self._large[: len(small)] = small
        self._filled, self._small = len(small), b""
        return None


def read_frame(fd: int, incoming: Incoming) -> Frame | None:
    """Waits for the next frame on a blocking pipe; None at its end, which comes when the parent is gone."""
    while (frame := incoming.take()) is None:
        if not incoming.fill(fd):
            return None
    return frame


def encode_failure(failure: Failure) -> bytes:
    """The body of `UNFIT`, `MISSING` and `REFUSED`."""
    return msgspec.json.encode(failure)


def decode_failure(body: bytes | bytearray) -> Failure:
    """The other way."""
    return msgspec.json.decode(body, type=Failure)
