"""NSQ: nsqd, and nsqlookupd, which knows where they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.request import urlopen

from oche.servers.server import PATIENCE, Server, free_pair, need, tells

#: Options with which a killed nsqd loses as little as it can: all that waits is on disk, and ten times a second it
#: writes down where that is.
KEEPING = ("--mem-queue-size", "0", "--sync-timeout", "100ms")
#: How to get both.
GET = "go install github.com/nsqio/nsq/apps/...@v1.3.0, or a release from nsq.io"


class NSQD(Server):
    """nsqd, with `data` as its directory; `lookupds` are those it is known to; `options` are the server's own."""

    scheme = "nsq"

    def __init__(self, data: Path, *, lookupds: Sequence[NSQLookupd] = (), options: Sequence[str] = ()) -> None:
        super().__init__()
        self.port = free_pair()  # its HTTP API has the next one
        self.data = data
        self.lookupds = lookupds
        self.options = options

    def command(self) -> list[str]:
        self.data.mkdir(parents=True, exist_ok=True)
        command = [need("nsqd", GET), "--data-path", str(self.data), "--log-level", "fatal"]
        command += ["--broadcast-address", "127.0.0.1"]
        command += ["--tcp-address", f"127.0.0.1:{self.port}", "--http-address", f"127.0.0.1:{self.port + 1}"]
        for lookupd in self.lookupds:
            command += ["--lookupd-tcp-address", f"127.0.0.1:{lookupd.port + 1}"]
        return [*command, *self.options]

    def answers(self) -> bool:
        return _pings(self.port + 1)

    def ask(self, path: str, data: bytes | None = None) -> bytes:
        """What its HTTP API answers, as to any client; a POST where there are data."""
        with urlopen(f"http://127.0.0.1:{self.port + 1}{path}", data=data, timeout=PATIENCE) as answer:
            body: bytes = answer.read()
            return body


class NSQLookupd(Server):
    """nsqlookupd; nsqds tell it where they are at the port after the one where it is asked."""

    scheme = "nsq+lookupd"

    def __init__(self) -> None:
        super().__init__()
        self.port = free_pair()

    def command(self) -> list[str]:
        ports = ["--http-address", f"127.0.0.1:{self.port}", "--tcp-address", f"127.0.0.1:{self.port + 1}"]
        return [need("nsqlookupd", GET), "--log-level", "fatal", "--broadcast-address", "127.0.0.1", *ports]

    def answers(self) -> bool:
        return _pings(self.port)


def _pings(port: int) -> bool:
    return tells(port, b"GET /ping HTTP/1.0\r\n\r\n", b" 200 ")
