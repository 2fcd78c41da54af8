"""One server process of ours: started on a free loopback port, waited for, stopped by the id that was started."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from typing import Self

from oche.errors import Disconnected, Unsupported
from oche.servers.lifeline import end_with_parent

#: Seconds a server may take to answer after its start, or to end.
PATIENCE = 10.0

#: Below those that Linux gives to clients (`ip_local_port_range`).
_PORTS = range(10_000, 32_000)

#: Where Debian keeps servers that are not on everybody's path. Its rabbitmq-server in /usr/sbin is a wrapper that would
#: become another user.
_PLACES = "/usr/lib/rabbitmq/bin:{}:/usr/sbin"


def find(program: str) -> str | None:
    """Its path, or None where it is not installed."""
    return shutil.which(program, path=_PLACES.format(os.environ.get("PATH", os.defpath)))


def need(program: str, how: str) -> str:
    """Its path. Raises `Unsupported` with the way to get it."""
    if (path := find(program)) is None:
        raise Unsupported(f"{program} is not installed here; {how}")
    return path


def free_port() -> int:
    """A loopback TCP port that nobody listens on at this moment.

    None of those that the kernel gives to whoever connects somewhere: it could be gone again before its server starts,
    and who asks whether that server answers could be given it himself, and then talks to himself.
    """
    while True:
        port = secrets.choice(_PORTS)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def free_pair() -> int:
    """A free port with a free one behind it."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError, OverflowError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port + 1))
            return port


def tells(port: int, asked: bytes, told: bytes, *, size: int = 100) -> bool:
    """Whether who listens at a loopback port answers so; raises `OSError` if nobody does."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as probe:
        probe.sendall(asked)
        return told in probe.recv(size)


class Server:
    """A server process; a subclass says how to start it and when it answers. Its port stays over restarts."""

    scheme = ""
    patience = PATIENCE  #: seconds it may take to answer after its start
    stdout: int | None = None  #: where to; None for ours
    ends_with_us = False  #: also when we are killed; to be set before the start, by a thread that lasts as long

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the running server; raises `RuntimeError` if it does not run."""
        if self._process is None:
            raise RuntimeError(f"{type(self).__name__} on port {self.port} is not running; call start()")
        return self._process.pid

    def command(self) -> list[str]:
        """The program and its arguments."""
        raise NotImplementedError

    def environment(self) -> dict[str, str] | None:
        """Of its process; None for ours."""
        return None

    def answers(self) -> bool:
        """Whether the server does its work already; may raise `OSError` as long as it does not."""
        raise NotImplementedError

    def start(self) -> None:
        """Starts the server and waits until it answers.

        Raises `Unsupported` with the way to get it where it is not installed, `Disconnected` if it ends or takes over
        `patience`.
        """
        self._process = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=self.stdout,
            start_new_session=True,
            env=self.environment(),
            preexec_fn=end_with_parent if self.ends_with_us else None,
        )
        try:
            self._wait(self._process)
        except BaseException:
            self.kill()
            raise

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + self.patience
        while True:
            with contextlib.suppress(OSError):
                if self.answers():
                    return
            code = process.poll()
            if code is not None or time.monotonic() > end:
                raise Disconnected(f"{self.command()} did not come up: exit status {code}; start it by hand to see why")
            time.sleep(0.005)

    def kill(self) -> None:
        """SIGKILL; nothing if it does not run."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM; nothing if it does not run."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            process.send_signal(how)
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(PATIENCE)

    def pause(self) -> None:
        """SIGSTOP: the server keeps its connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
