"""gearmand."""

from __future__ import annotations

from collections.abc import Sequence

from oche.servers.server import Server, need, tells


class Gearmand(Server):
    """gearmand, which forgets all when it ends; `options` are the server's own."""

    scheme = "gearman"

    def __init__(self, *, options: Sequence[str] = ()) -> None:
        super().__init__()
        self.options = options

    def command(self) -> list[str]:
        program = need("gearmand", "apt install gearman-job-server")
        return [program, "-L", "127.0.0.1", "-p", str(self.port), "-l", "none", *self.options]

    def answers(self) -> bool:
        return tells(self.port, b"version\r\n", b"OK")
