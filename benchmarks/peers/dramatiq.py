"""dramatiq on Redis: two masters of one process and one thread each."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

from peers.base import Peer, module
from servers import Redis


class Dramatiq(Peer):
    title = "dramatiq"
    packages = ("dramatiq[redis]",)
    broker = Redis
    victims = ("child", "node")

    def start(self) -> None:
        os.environ["BENCH_BROKER"] = self.server.url
        self.start_nodes()
        from peers.dramatiq_app import actors

        self.actors = actors

    def command(self, number: int) -> list[str]:
        return module("dramatiq", "peers.dramatiq_app", "-p", "1", "-t", "1")

    def submit(self, fn: Callable[[Any], Any], x: Any) -> Any:
        return self.actors[fn.__name__].send(x)

    def result(self, handle: Any, timeout: float) -> Any:
        return handle.get_result(block=True, timeout=math.ceil(timeout) * 1000)
