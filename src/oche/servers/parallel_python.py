"""ppserver, of Parallel Python."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Mapping
from hashlib import sha1
from importlib.util import find_spec

from oche.errors import Unsupported
from oche.servers.server import PATIENCE, Server

#: The program, without its secret on the command line, where everybody may read it.
_PROGRAM = """
import os, runpy, sys
sys.argv += ["-s", os.environ["OCHE_PP_SECRET"]]
runpy.run_module("ppft.server", run_name="__main__")
"""


class PPServer(Server):
    """A ppserver with so many workers, and `environment` for them. Its secret, new unless given, is part of the URL."""

    scheme = "pp"

    def __init__(self, slots: int, *, secret: str = "", environment: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.slots, self.secret = slots, secret or secrets.token_hex(16)
        self._environment = os.environ if environment is None else environment

    @property
    def url(self) -> str:
        return f"pp://:{self.secret}@127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        return {**self._environment, "OCHE_PP_SECRET": self.secret}

    def command(self) -> list[str]:
        if find_spec("ppft") is None:
            raise Unsupported("the package 'ppft' is not installed; run pip install 'oche[parallel_python]'")
        return [sys.executable, "-c", _PROGRAM, "-i", "127.0.0.1", "-p", str(self.port), "-w", str(self.slots)]

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as line, line.makefile("rwb") as both:

            def hear() -> bytes:
                return both.read(int.from_bytes(both.read(8), "big"))

            def say(what: bytes) -> None:
                both.write(len(what).to_bytes(8, "big") + what)
                both.flush()

            hear()  # its version
            say(sha1(hear() + self.secret.encode()).hexdigest().encode())
            if hear() != b"OK":
                return False
            say(b"STAT")
            return int(hear()) == self.slots
