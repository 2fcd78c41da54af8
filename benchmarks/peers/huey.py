"""huey on Redis: two consumers of one worker process each."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from peers.base import Peer, module
from servers import Redis


class Huey(Peer):
    title = "huey"
    packages = ("huey", "redis")
    broker = Redis
    victims = ("child", "node")
    note = "result(blocking=True) polls, with its default backoff"

    def start(self) -> None:
        os.environ["BENCH_BROKER"] = self.server.url
        self.start_nodes()
        from peers.huey_app import tasks

        self.tasks = tasks

    def command(self, number: int) -> list[str]:
        return module("huey.bin.huey_consumer", "peers.huey_app.huey", "-w", "1", "-k", "process", "-q")

    def submit(self, fn: Callable[[Any], Any], x: Any) -> Any:
        return self.tasks[fn.__name__](x)

    def result(self, handle: Any, timeout: float) -> Any:
        return handle.get(blocking=True, timeout=timeout)
