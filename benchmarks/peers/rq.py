"""RQ: its default worker, which forks for each job, and the SimpleWorker, which does not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from peers.base import Peer, module
from servers import Redis
from work import noop


class RQ(Peer):
    title = "RQ, default worker"
    packages = ("rq",)
    broker = Redis
    victims = ("child", "node")
    note = "forks for each job"
    worker = "rq.worker.Worker"

    def start(self) -> None:
        self.start_nodes()
        import redis
        import rq

        self.queue = rq.Queue(connection=redis.Redis.from_url(self.server.url, socket_timeout=None))
        self.failed = rq.results.Result.Type.FAILED

    def command(self, number: int) -> list[str]:
        return module("rq.cli", "worker", "--quiet", "--url", self.server.url, "--worker-class", self.worker)

    def submit(self, fn: Callable[[Any], Any], x: Any) -> Any:
        return self.queue.enqueue(fn, x)

    def result(self, handle: Any, timeout: float) -> Any:
        found = handle.latest_result(timeout=max(1, math.ceil(timeout)))
        if found is None:
            raise TimeoutError
        if found.type == self.failed:
            raise JobFailed((found.exc_string or "").strip().splitlines()[-1:])
        return found.return_value

    def computing(self) -> list[int]:
        """The forked children that hold a job at this moment; None of them lives on."""
        import psutil

        return [child.pid for node in self.nodes for child in psutil.Process(node.pid).children()] or [
            node.pid for node in self.nodes
        ]

    def kill(self, victim: str, computing: Sequence[int]) -> None:
        super().kill(victim, self.computing())


class JobFailed(Exception):
    """RQ keeps a failure as text."""


class RQSimple(RQ):
    title = "RQ, SimpleWorker"
    victims = ("node",)
    note = ""
    worker = "rq.worker.SimpleWorker"

    def batched(self, n: int) -> Sequence[int]:
        import rq

        jobs = self.queue.enqueue_many([rq.Queue.prepare_data(noop, (i,)) for i in range(n)])
        return [self.result(job, 60.0) for job in jobs]
