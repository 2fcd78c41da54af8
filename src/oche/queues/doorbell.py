"""A doorbell between processes of one machine: wakes a sleeper, and proves that its owner lives.

It is a unix datagram socket. The kernel takes it away with its process, however that ends, so an address that
refuses is a dead owner. On Linux the address is in the abstract namespace and leaves nothing behind (all
parties must share one network namespace: containers of one pod do, others do not). Elsewhere it is a path.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sys
import tempfile
import weakref


class Doorbell:
    """One owner's bell, at `address`, which is text to be stored where others find it. For one thread to wait at."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        name = f"oche-{secrets.token_hex(12)}"
        self.address = f"@{name}" if sys.platform == "linux" else os.path.join(tempfile.gettempdir(), name)
        self._socket.bind(_raw(self.address))
        # A forked child would keep the bell answering after its owner's death.
        mine = weakref.ref(self._socket)
        os.register_at_fork(after_in_child=lambda: _shut(mine()))

    def wait(self, timeout: float) -> bool:
        """Sleeps until the bell rings, at most `timeout` seconds; True if it rang. Then it is silent again."""
        self._socket.settimeout(max(timeout, 0.0))
        try:
            self._socket.recv(1)
        except (TimeoutError, BlockingIOError):
            return False
        self._socket.settimeout(0.0)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(1)
        return True

    def close(self) -> None:
        """Takes the bell away: from now on its owner counts as dead."""
        self._socket.close()
        if not self.address.startswith("@"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.address)


def ring(address: str) -> bool:
    """Rings the bell at this address without ever blocking; False if its owner is dead."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(b"!", socket.MSG_DONTWAIT, _raw(address))
        except BlockingIOError:  # full of unheard rings: it is about to hear one
            return True
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        return True


def alive(address: str) -> bool:
    """Whether the bell's owner lives; nobody is woken."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_raw(address))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        return True


def _raw(address: str) -> str:
    return "\0" + address[1:] if address.startswith("@") else address


def _shut(sock: socket.socket | None) -> None:
    if sock is not None:
        sock.close()
