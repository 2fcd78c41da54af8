"""A Redis of our own, on a free port of the loopback, for as long as a comparison takes."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from oche.compare.lifeline import end_with_parent
from oche.errors import Disconnected, Unsupported

PROGRAMS = ("redis-server", "valkey-server")
#: Seconds that the server may take to answer, or to end.
PATIENCE = 10.0


@contextmanager
def redis_server() -> Iterator[str]:
    """The URL of a new server that writes nothing to disk.

    Raises `Unsupported`, with the way to get one, where none is installed; `Disconnected` if it does not come up.
    """
    program = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if program is None:
        raise Unsupported("no redis-server is installed here: apt install redis-server")
    with ExitStack() as stack:
        port = _free_port()
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="oche-redis-"))
        command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", folder]
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            # A Ctrl-C is for us: it would end the server while its flag is still in use.
            start_new_session=True, preexec_fn=end_with_parent,
        )  # fmt: skip
        stack.callback(_stop, server)
        _wait(server, port)
        yield f"redis://127.0.0.1:{port}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1.0) as probe:
                probe.sendall(b"PING\r\n")
                if probe.recv(16).startswith(b"+PONG"):
                    return
        except OSError:
            pass
        time.sleep(0.01)
    raise Disconnected(f"{server.args!r} did not come up: exit status {server.poll()}; start it by hand to see why")


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
