"""Plain greenstalk on beanstalkd: what the broker and its plainest client give, with nothing on top."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any

from peers.base import Peer, module
from servers import Beanstalkd


class Greenstalk(Peer):
    title = "plain greenstalk"
    packages = ("greenstalk",)
    broker = Beanstalkd
    victims = ("node",)
    core = True
    note = "put, reserve, put answer, delete, reserve, delete; no signature, no retries"

    def start(self) -> None:
        self.start_nodes()
        import greenstalk

        address = ("127.0.0.1", self.server.port)
        self.queue = greenstalk.Client(address, use="jobs", watch="answers")
        self.number = 0
        self.found: dict[int, Any] = {}

    def command(self, number: int) -> list[str]:
        return module("peers.greenstalk_worker", str(self.server.port))

    def submit(self, fn: Callable[[Any], Any], x: Any) -> int:
        self.number += 1
        self.queue.put(json.dumps([self.number, fn.__name__, x]))
        return self.number

    def result(self, handle: int, timeout: float) -> Any:
        end = time.monotonic() + timeout
        while handle not in self.found:
            # Whole seconds are all that the protocol knows.
            answer = self.queue.reserve(timeout=max(0, math.ceil(end - time.monotonic())))
            number, value = json.loads(answer.body)
            self.queue.delete(answer)
            self.found[number] = value
        return self.found.pop(handle)
