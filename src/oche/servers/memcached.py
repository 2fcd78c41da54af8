"""memcached."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence

from oche.servers.server import Server, need, tells


class Memcached(Server):
    """memcached. `memory` is in MiB; `options` are the server's own."""

    scheme = "memcached"

    def __init__(self, memory: int = 64, *, options: Sequence[str] = ()) -> None:
        super().__init__()
        self.memory = memory
        self.options = options

    def command(self) -> list[str]:
        # As root it wants to be told whom to run as.
        user = pwd.getpwuid(os.geteuid()).pw_name
        address = ["-l", "127.0.0.1", "-p", str(self.port), "-U", "0"]
        return [need("memcached", "apt install memcached"), "-u", user, *address, "-m", str(self.memory), *self.options]

    def answers(self) -> bool:
        return tells(self.port, b"version\r\n", b"VERSION")
