"""One socket to a gearmand: packets and lines of text, kept in step.

No client library, though `gear` is a fair one: it reads byte by byte, has its sockets read by threads of its own, and
two small writes in a row wait 40 ms for an acknowledgement that the server's kernel delays (Nagle's algorithm), which
makes 20 to 50 jobs a second. What is needed of the protocol is a dozen kinds of packets.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from contextlib import suppress
from typing import NamedTuple

from oche.errors import QueueError, QueueFull

#: Seconds for a connection to be made, and for an answer to come.
CONNECT, ANSWER = 5.0, 10.0

# Of the packets: what we send,
CAN_DO, CANT_DO, RESET_ABILITIES, PRE_SLEEP, WORK_COMPLETE, ECHO_REQ = 1, 2, 3, 4, 13, 16
GRAB_JOB_UNIQ, SET_CLIENT_ID = 30, 22
#: background jobs of high, normal and low priority,
SUBMIT_JOB_BG = (32, 18, 34)
# and what comes.
NOOP, JOB_CREATED, NO_JOB, ECHO_RES, ERROR, JOB_ASSIGN_UNIQ = 6, 8, 10, 17, 19, 31

_HEAD = struct.Struct("!4sII")
_REQUEST, _RESPONSE = b"\0REQ", b"\0RES"


def packet(kind: int, *parts: bytes) -> bytes:
    """A packet as it is sent."""
    data = b"\0".join(parts)
    return _HEAD.pack(_REQUEST, kind, len(data)) + data


class Assigned(NamedTuple):
    """A job as the server hands it out."""

    handle: bytes
    function: str
    unique: bytes
    body: bytes


class Line:
    """One socket."""

    def __init__(self, host: str, port: int) -> None:
        self._got = bytearray()
        self.socket = socket.create_connection((host, port), timeout=CONNECT)
        try:
            for option, value in (("TCP_NODELAY", 1), ("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
                if hasattr(socket, option):
                    self.socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self.socket.settimeout(ANSWER)
            self.send(packet(SET_CLIENT_ID, f"oche.{socket.gethostname()}.{os.getpid()}".encode()))
        except BaseException:
            self.socket.close()
            raise

    def send(self, *packets: bytes) -> None:
        """Sends them in one go."""
        self.socket.sendall(b"".join(packets))

    def read(self) -> tuple[int, bytes]:
        """The next packet but for bells; lines of text before it are passed over."""
        while True:
            self._need(1)
            if self._got[0] != 0:
                self._text(b"\n")
                continue
            kind, data = self._packet()
            if kind != NOOP:
                return kind, data

    def put(self, packets: list[bytes]) -> None:
        """Sends jobs, and waits until the server has them. Raises `QueueFull`, `QueueError`."""
        self.send(*packets)
        answers = [self.read() for _ in packets]  # all of them, or we would be out of step
        for kind, data in answers:
            if kind == ERROR and b"full" in data:
                raise QueueFull(f"gearmand takes no more of these jobs ({_plain(data)}); raise its maxqueue, or wait")
            if kind != JOB_CREATED:
                raise QueueError(f"gearmand answered {kind} {_plain(data)} to a job")

    def grab(self, count: int) -> list[Assigned]:
        """Up to so many jobs of the functions that were named, if they are ready."""
        self.send(*[packet(GRAB_JOB_UNIQ)] * count)
        got = []
        for _ in range(count):
            kind, data = self.read()
            if kind == JOB_ASSIGN_UNIQ:
                handle, function, unique, body = data.split(b"\0", 3)
                got.append(Assigned(handle, function.decode(errors="replace"), unique, body))
            elif kind != NO_JOB:
                raise ConnectionError(f"gearmand answered {kind} {_plain(data)} instead of a job")
        return got

    def rung(self, seconds: float) -> bool:
        """After a PRE_SLEEP: waits for the bell that there are jobs; False if it did not ring in time."""
        end = time.monotonic() + seconds
        while len(self._got) < _HEAD.size:
            self.socket.settimeout(max(0.0005, end - time.monotonic()))
            try:
                self._receive()
            except TimeoutError:
                return False
            finally:
                self.socket.settimeout(ANSWER)
        kind, data = self._packet()
        if kind != NOOP:
            raise ConnectionError(f"gearmand sent {kind} {_plain(data)} instead of a bell")
        return True

    def list(self, what: str) -> bytes:
        """The lines that the server answers to `status` or `show jobs`."""
        self.send(what.encode() + b"\r\n")
        while True:
            self._need(2)
            if self._got[0] == 0:
                self._packet()  # a bell that came too late
            elif self._got.startswith(b".\n"):
                return self._text(b".\n")
            else:
                return self._text(b"\n.\n")

    def ask(self, what: str) -> str:
        """The word that the server answers to `version` or `getpid`."""
        self.send(what.encode() + b"\r\n")
        self._need(1)
        while self._got[0] == 0:
            self._packet()  # a bell that came too late
            self._need(1)
        return _plain(self._text(b"\n")).removeprefix("OK ").strip()

    def tell(self, command: str) -> None:
        """Has the server do this; whatever it says to it."""
        self.send(command.encode() + b"\r\n")
        self.settle()

    def settle(self, *packets: bytes) -> None:
        """Sends these; when it returns, the server has done all that was sent."""
        self.send(*packets, packet(ECHO_REQ))
        kind, data = self.read()
        if kind != ECHO_RES:
            raise ConnectionError(f"gearmand answered {kind} {_plain(data)}")

    def close(self) -> None:
        """Ends it: what it held is ready again."""
        with suppress(OSError):
            self.socket.close()

    def _packet(self) -> tuple[int, bytes]:
        self._need(_HEAD.size)
        magic, kind, size = _HEAD.unpack_from(self._got)
        if magic != _RESPONSE:
            raise ConnectionError(f"this is no gearmand: it sent {bytes(self._got[:20])!r}")
        self._need(_HEAD.size + size)
        data = bytes(memoryview(self._got)[_HEAD.size : _HEAD.size + size])
        del self._got[: _HEAD.size + size]
        return kind, data

    def _text(self, end: bytes) -> bytes:
        start = 0
        while (found := self._got.find(end, start)) < 0:
            start = max(0, len(self._got) - len(end))
            self._receive()
        text = bytes(self._got[: found + len(end)])
        del self._got[: found + len(end)]
        return text

    def _need(self, size: int) -> None:
        while len(self._got) < size:
            self._receive()

    def _receive(self) -> None:
        data = self.socket.recv(2**18)
        if not data:
            raise ConnectionError("gearmand closed it")
        self._got += data


def _plain(data: bytes) -> str:
    return data.replace(b"\0", b" ").decode(errors="replace")[:200]
