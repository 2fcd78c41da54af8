"""Lines to workers of Parallel Python, ours and those of ppservers; how ppservers are found."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any

import ppft
from ppft.transport import CSocketTransport

from oche.errors import Broken, Disconnected
from oche.worker.crew import child_environment
from oche.worker.spawning import spawn

#: Seconds that a ppserver may take to answer; to announce itself when asked; how often all are asked.
CONNECT, FIND, ASK = 10.0, 0.5, 4
#: A worker. It warns of how ppft is made.
_WORKER = [sys.executable, "-u", "-W", "ignore::RuntimeWarning:runpy", "-m", "ppft"]
#: What all must have alike.
VERSION = ppft.__version__
#: Of a ppserver that was started without.
PUBLIC_SECRET = ppft.Server.default_secret


def _call(name: str) -> bytes:
    """What ppft's workers are given for a function: its source. What that imports must not fail outside of it."""
    source = f"def oche(*args):\n    from oche.engines.parallel_python_hand import {name}\n    return {name}(*args)\n"
    return pickle.dumps(("oche", [source], ()), 2)


BEGIN, RUN = _call("begin"), _call("run")


class Line(ABC):
    """To one worker of ppft's. Its thread opens, uses and closes it; any other may `cut` it."""

    slots = 1  #: workers of the same machine
    _socket: socket.socket | None = None
    _transport: Any = None

    @abstractmethod
    def open(self) -> None:
        """Raises `Disconnected`, or `Broken` where the initializer fails."""

    def ask(self, what: bytes, *args: object) -> bytes:
        """The answer to a call. Raises `Disconnected`; `RuntimeError` if the worker could not even call it."""
        try:
            self._transport.csend(what)
            self._transport.send(pickle.dumps(args, 4))
            answer, said = pickle.loads(self._transport.receive())
        except (RuntimeError, OSError, ValueError, pickle.UnpicklingError) as error:  # ppft has none of its own
            raise Disconnected(f"a worker of ppft's is lost: {error}") from error
        if answer is None:
            raise RuntimeError(said.strip("\0 \n").rpartition("\n")[2])
        return bytes(answer)

    def broken(self) -> bool:
        """Whether there is something to read where nothing was asked: the end."""
        assert self._socket is not None
        return bool(wait([self._socket], 0.0))

    def cut(self) -> None:
        """Ends what is going on. From any thread."""
        if (line := self._socket) is not None:
            with suppress(OSError):  # it is closed already
                line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Whether it was opened or not."""
        if self._socket is not None:
            self._socket.close()


class Ours(Line):
    """A worker that we start."""

    def __init__(self, begin: tuple[int, str, bytes]) -> None:
        self._begin, self.slots = begin, begin[0]
        self._lock = threading.Lock()  # guards the next
        self._pid: int | None = None

    def open(self) -> None:
        environment = child_environment(self.slots)
        environment["PYTHONPATH"] = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._socket, theirs = socket.socketpair()
        with theirs, self._lock:
            files = (theirs.fileno(), theirs.fileno(), 2)
            self._pid = spawn(_WORKER, files, environment)
        self._transport = CSocketTransport(self._socket, None)
        try:
            self._transport.receive()  # its process id
            self._transport.send(str(pickle.HIGHEST_PROTOCOL))
            failure = self.ask(BEGIN, pickle.dumps(self._begin))
        except (RuntimeError, OSError) as error:
            raise Disconnected(f"a worker of ppft's did not start ({error}); it may have said why") from error
        if failure:
            raise Broken(f"the initializer failed in a worker:\n{failure.decode()}")

    def cut(self) -> None:
        with self._lock, suppress(ProcessLookupError):
            if self._pid is not None:
                os.killpg(self._pid, signal.SIGKILL)

    def close(self) -> None:
        super().close()
        self.cut()
        with self._lock, suppress(ChildProcessError):
            if self._pid is not None:
                os.waitpid(self._pid, 0)
            self._pid = None


class Theirs(Line):
    """One of so many connections to a ppserver."""

    def __init__(self, place: tuple[str, int], secret: str, slots: int = 1) -> None:
        self._place, self._secret, self.slots = place, secret, slots

    def open(self) -> None:
        self._meet("EXEC")

    def count(self) -> int:
        """Its workers. Raises `Disconnected`."""
        try:
            self._meet("STAT")
            return int(self._transport.receive())
        finally:
            self.close()

    def _meet(self, purpose: str) -> None:
        self._socket = _Prompt()
        try:
            self._socket.settimeout(CONNECT)
            self._socket.connect(self._place)
            self._transport = CSocketTransport(self._socket, CONNECT)
            if not self._transport.authenticate(self._secret):
                raise Disconnected(f"it has another secret, or another ppft than {VERSION}")
            self._transport.send(purpose)
            self._socket.settimeout(None)
        except (OSError, RuntimeError, ValueError) as error:
            host, port = self._place
            raise Disconnected(f"the ppserver at {host}:{port} does not answer: {error}") from error


class _Prompt(socket.socket):
    """ppft writes a length and then what is so long. TCP would hold back the second until the first is acknowledged,
    and acknowledge that after 40 ms."""

    def __init__(self) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_NODELAY", 1), ("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, option):
                self.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """The other side's second write waits for us."""
        if hasattr(socket, "TCP_QUICKACK"):  # the system forgets it
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return super().recv(size, flags)


def find(pattern: str, port: int) -> list[tuple[str, int]]:
    """Those who answer ppft's call into a network, such as 10.1.2.*."""
    found = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        door.bind(("", port))
        for _ in range(ASK):  # such a message may be lost
            door.sendto(b"C", ("255.255.255.255" if pattern == "*" else pattern.replace("*", "255"), port))
            end = time.monotonic() + FIND
            while (left := end - time.monotonic()) > 0 and wait([door], left):
                said, (host, _) = door.recvfrom(1024)
                if said[:1] == b"S":
                    found.add((host, port))
    return sorted(found)
