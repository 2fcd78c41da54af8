"""Redis, or Valkey."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from oche.servers.server import Server, find, need, tells


class Redis(Server):
    """redis-server, or valkey-server where only that is here.

    `data` is a directory and makes it durable (append-only file); `options` are the server's own.
    """

    scheme = "redis"
    stdout = subprocess.DEVNULL  # advice about the machine

    def __init__(self, data: Path | None = None, *, options: Sequence[str] = ()) -> None:
        super().__init__()
        self.data = data
        self.options = options

    def command(self) -> list[str]:
        program = find("redis-server") or find("valkey-server") or need("redis-server", "apt install redis-server")
        command = [program, "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--loglevel", "warning"]
        if self.data is not None:
            self.data.mkdir(parents=True, exist_ok=True)
            command += ["--appendonly", "yes", "--dir", str(self.data)]
        return [*command, *self.options]

    def answers(self) -> bool:
        return tells(self.port, b"PING\r\n", b"+PONG")
