"""The conversation with a beanstalkd over one socket: kept in step, with many commands in one send.

Once a reply is late, cut off or not understood, later replies would be taken for those of later commands; so
whatever ends the talk between a command and its reply ends the conversation, for good.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn, Protocol
from urllib.parse import urlsplit

from oche.errors import Closed, ConfigError, Disconnected, QueueError
from oche.queues.beanstalkd.commands import check_tube

PORT = 11300
#: Seconds for a connection to be made, and for an answer to come.
CONNECT, ANSWER = 5.0, 10.0
#: Commands, and bytes, sent in one go; the replies must fit the buffers between us and the server.
BATCH, BATCH_BYTES = 100, 2**16


def address(url: str) -> tuple[str, int]:
    """Host and port of `beanstalkd://host:port`; raises `ConfigError` for anything else."""
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{url!r}: {error}") from error
    if not host or parts.path not in ("", "/") or parts.query or parts.username is not None:
        raise ConfigError(f"{url!r} is not of the form beanstalkd://host:{PORT}")
    return host, PORT if port is None else port


class Closeable(Protocol):
    """Whatever can be closed."""

    def close(self) -> object: ...


class Reply:
    """A reply as it came: status word, the words after it, and the data block of the kinds that have one."""

    __slots__ = ("body", "status", "values")

    def __init__(self, status: bytes, values: list[bytes], body: bytes) -> None:
        self.status = status
        self.values = values
        self.body = body


class Conversation:
    """One connection. Whoever talks over `socket` by other means does so within `talk()`."""

    def __init__(self, host: str, port: int, *, expected: tuple[type[Exception], ...]) -> None:
        """`expected` are exceptions that leave the talk in step. Raises `Disconnected` if nobody answers there."""
        self.where = f"beanstalkd at {host}:{port}"
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._closed = self._broken = False
        self._expected = expected
        self._used = "default"
        self._watched = ["default"]
        try:
            self.socket = socket.create_connection((host, port), timeout=CONNECT)
        except OSError as error:
            raise Disconnected(f"no {self.where} answers ({error}); start it or mend the URL") from error
        for option, value in (("TCP_NODELAY", 1), ("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, option):
                self.socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.socket.settimeout(None)
        self._patience = 0.0  # seconds that the kernel lets a send or receive take
        self._owed = False  # the reply to `ask` is still to be read
        self._answer: Reply | None = None  # or was read, and nobody has wanted it yet
        # Another reader of the socket is sound: between whole replies there is nothing in either's buffer.
        self._reader = self.socket.makefile("rb")
        self.ends: list[Closeable] = [self._reader, self.socket]  #: what is closed with the connection

    @contextmanager
    def talk(self, wait: float = ANSWER) -> Iterator[None]:
        """Around commands and their replies: what ends it amid those ends the connection."""
        with self._lock:
            self.check_open()
            try:
                self._wait_at_most(wait)
                self._settle()
                yield
            except self._expected:
                raise
            except BaseException as error:
                self._break(error)

    def exchange(self, commands: Sequence[bytes], wait: float = ANSWER) -> list[Reply]:
        """Sends commands in as few goes as is safe, and reads the replies."""
        replies: list[Reply] = []
        start = 0
        while start < len(commands):
            end, size = start + 1, len(commands[start])
            while end < min(len(commands), start + BATCH) and size + len(commands[end]) <= BATCH_BYTES:
                size += len(commands[end])
                end += 1
            with self._lock:
                self.check_open()
                try:
                    self._wait_at_most(wait)
                    self.socket.sendall(commands[start] if end == start + 1 else b"".join(commands[start:end]))
                    self._settle()
                    replies += [self._read() for _ in range(start, end)]
                except BaseException as error:
                    self._break(error)
            start = end
        return replies

    def ask(self, command: bytes) -> None:
        """Sends one command ahead of its time: whoever asked may do other work until `answer` has the reply."""
        with self._lock:
            self.check_open()
            try:
                self._wait_at_most(ANSWER)
                self._settle()
                self.socket.sendall(command)
            except BaseException as error:
                self._break(error)
            self._owed = True

    def answer(self) -> Reply:
        """The reply to the last `ask`."""
        with self._lock:
            self.check_open()
            try:
                self._settle()
            except BaseException as error:
                self._break(error)
            reply, self._answer = self._answer, None
            assert reply is not None
            return reply

    def _settle(self) -> None:
        """Reads the reply that is owed, if one is: it comes before all others."""
        if self._owed:
            self._answer = self._read()
            self._owed = False

    def _wait_at_most(self, wait: float) -> None:
        """Lets the kernel watch the time: a socket's own timeout costs a system call more for each send and receive."""
        if wait != self._patience:
            limit = struct.pack("ll", int(wait), max(1, int(wait % 1 * 1e6)))  # nothing at all would be for ever
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            self._patience = wait

    def _break(self, error: BaseException) -> NoReturn:
        """Ends the connection for what came amid a talk."""
        self._drop()
        if self._closed:
            raise Closed("the queue was closed while it waited for beanstalkd") from error
        if not isinstance(error, Exception):
            raise error
        raise Disconnected(f"the connection to {self.where} broke: {error!r}; open a new one") from error

    def use(self, tube: str) -> list[bytes]:
        """What must be sent before a command that is about the tube."""
        if tube == self._used:
            return []
        command = b"use %b\r\n" % check_tube(tube)
        self._used = tube
        return [command]

    def watch(self, tubes: Sequence[str]) -> None:
        """From now on exactly these tubes are watched."""
        if list(tubes) != self._watched:
            new = [b"watch %b\r\n" % check_tube(tube) for tube in tubes if tube not in self._watched]
            old = [b"ignore %b\r\n" % tube.encode() for tube in self._watched if tube not in tubes]
            self._watched = list(tubes)
            self.exchange(new + old)

    def _read(self) -> Reply:
        line = self._reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError(f"beanstalkd closed it, or said nothing for {self._patience:g} s")
        status, *values = line.split()
        body = b""
        if status in (b"RESERVED", b"FOUND", b"OK"):
            size = int(values[-1]) + 2
            body = self._reader.read(size)
            if len(body) != size:
                raise ConnectionError(f"beanstalkd closed it, or said nothing for {self._patience:g} s")
            body = body[:-2]
        elif status in (b"BAD_FORMAT", b"UNKNOWN_COMMAND", b"EXPECTED_CRLF", b"INTERNAL_ERROR"):
            raise ConnectionError(f"beanstalkd answered {status.decode()}")
        return Reply(status, values, body)

    def check_open(self) -> None:
        """Raises what the next command would."""
        if self._pid != os.getpid():
            raise QueueError("the queue was opened before this process was forked; clone() it here")
        if self._closed:
            raise Closed("this queue was closed; clone() or open another one")
        if self._broken:
            raise Disconnected(f"the connection to {self.where} is broken; open a new one")

    def close(self) -> None:
        """From any thread; a talk that is going on ends with `Closed`."""
        if self._closed:
            return
        self._closed = True
        if self._pid != os.getpid():  # a parent's, from before a fork: in use there, and perhaps locked here for ever
            with suppress(OSError):
                os.close(self.socket.detach())  # the server should see the parent's end
            return
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        """Ends the connection; the server gives back what it held."""
        self._broken = True
        for end in self.ends:
            with suppress(OSError, RuntimeError):  # RuntimeError: called by a signal handler amid a read
                end.close()
