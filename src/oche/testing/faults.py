"""A TCP proxy before a real server, for tests: it cuts connections, loses replies, and swallows what passes.

client ---> Proxy.port ---> the server
       <---            <---

with Proxy(server.port, fault=lambda: before(b"delete ", chance)) as proxy:
    queue = BeanstalkdQueue.open(f"beanstalkd://127.0.0.1:{proxy.port}")
"""

from __future__ import annotations

import contextlib
import random
import re
import socket
import threading
from collections.abc import Callable
from typing import Self

from oche.servers.server import free_port

#: What happens to one connection: called with each chunk, and whether it is the client's; returns what is passed
#: on, or raises `Cut`. Called by two threads, one for each direction.
Fault = Callable[[bytes, bool], bytes]

_CHUNK = 1 << 16
#: Seconds in which the server must take a connection, and threads must end.
_PATIENCE = 10.0


class Cut(Exception):
    """The connection ends here; `passed` of the chunk still gets through."""

    def __init__(self, passed: bytes = b"") -> None:
        super().__init__("the proxy cuts the connection")
        self.passed = passed


def whole() -> Fault:
    """No fault."""
    return lambda data, _: data


def before(pattern: bytes, chance: random.Random, *, odds: float = 0.5) -> Fault:
    """Cuts with these odds instead of passing on a request that holds the pattern, a regular expression."""

    def fault(data: bytes, request: bool) -> bytes:
        if request and _in(pattern, data) and chance.random() < odds:
            raise Cut
        return data

    return fault


def lost(pattern: bytes, chance: random.Random, *, odds: float = 0.5) -> Fault:
    """Cuts with these odds instead of passing on what the server sends if it holds the pattern."""

    def fault(data: bytes, request: bool) -> bytes:
        if not request and _in(pattern, data) and chance.random() < odds:
            raise Cut
        return data

    return fault


def reply_lost(pattern: bytes, chance: random.Random, *, odds: float = 0.5) -> Fault:
    """A request that holds the pattern is carried out; with these odds what comes next is lost, by a cut."""
    doomed = threading.Event()

    def fault(data: bytes, request: bool) -> bytes:
        if request and _in(pattern, data) and chance.random() < odds:
            doomed.set()
        if not request and doomed.is_set():
            raise Cut
        return data

    return fault


def torn(size: int) -> Fault:
    """Cuts after so many bytes of the server's: within its greeting, an answer's head or its body."""
    left = size

    def fault(data: bytes, request: bool) -> bytes:
        nonlocal left
        if not request:
            passed = left
            left -= len(data)
            if left < 0:
                raise Cut(data[:passed])
        return data

    return fault


def _in(pattern: bytes, data: bytes) -> bool:
    return re.search(pattern, data, re.DOTALL) is not None


def amid(chance: random.Random, mean: float) -> Fault:
    """Cuts after a random number of bytes, in both directions together: amid a command, a body or a reply."""
    left = chance.expovariate(1 / mean)
    lock = threading.Lock()

    def fault(data: bytes, _: bool) -> bytes:
        nonlocal left
        with lock:
            passed = max(0, int(left))
            left -= len(data)
            if left < 0:
                raise Cut(data[:passed])
        return data

    return fault


class Proxy:
    """Passes on what comes to `port` of the loopback, a free one by default, to the server at `upstream`, and back.

    `fault()` is called for each new connection and says what happens to it.
    """

    def __init__(self, upstream: int, *, port: int | None = None, fault: Callable[[], Fault] = whole) -> None:
        self.fault = fault  #: may be changed at any time, for connections to come
        self._upstream = upstream
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._swallowed: set[tuple[socket.socket, socket.socket]] = set()
        self._halves: set[tuple[socket.socket, socket.socket]] = set()  # of which one direction has ended
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.port = free_port() if port is None else port
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._start(self._accept)

    def cut(self) -> None:
        """Ends all connections that are open now; new ones are taken."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._end(pair)

    def swallow(self) -> None:
        """From now on nothing passes over the connections that are open now, and nobody is told: half-open."""
        with self._lock:
            self._swallowed |= self._pairs

    def close(self) -> None:
        """Ends everything."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the one that accepts
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(_PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._upstream), timeout=_PATIENCE)
            except OSError:  # as the server would: nobody is there
                client.close()
                continue
            server.settimeout(None)
            fault, pair = self.fault(), (client, server)
            with self._lock:
                self._pairs.add(pair)
            self._start(self._pass, pair, fault, True)
            self._start(self._pass, pair, fault, False)

    def _pass(self, pair: tuple[socket.socket, socket.socket], fault: Fault, request: bool) -> None:
        source, sink = pair if request else pair[::-1]
        try:
            while data := source.recv(_CHUNK):
                if pair in self._swallowed:
                    continue
                sink.sendall(fault(data, request))
        except Cut as cut:
            with contextlib.suppress(OSError):
                sink.sendall(cut.passed)
        except OSError:
            pass
        if pair not in self._swallowed or request:
            self._end(pair)
        with self._lock:
            last = pair in self._halves
            self._halves ^= {pair}
        if last:  # not before: a number of a closed socket may be another's at once, and this thread would read there
            for end in pair:
                end.close()

    def _end(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            if pair not in self._pairs:
                return
            self._pairs.remove(pair)
            self._swallowed.discard(pair)
        for end in pair:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
