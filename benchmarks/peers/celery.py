"""Celery on Redis and on RabbitMQ: two nodes of one process each, options left alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from peers.base import Peer, module
from servers import RabbitMQ, Redis


class CeleryRedis(Peer):
    title = "Celery, Redis"
    packages = ("celery[redis]",)
    broker = Redis
    victims = ("child", "node")
    core = True
    late = ""

    def start(self) -> None:
        os.environ["BENCH_BROKER"] = self.server.url
        os.environ["BENCH_BACKEND"] = self.server.url if self.broker is Redis else "rpc://"
        os.environ["BENCH_LATE"] = self.late
        self.start_nodes()
        from peers.celery_app import tasks

        self.tasks = tasks

    def command(self, number: int) -> list[str]:
        arguments = ["worker", "-c", "1", "-n", f"w{number}@bench", "--loglevel", "warning"]
        return module("celery", "-A", "peers.celery_app", *arguments)

    def submit(self, fn: Callable[[Any], Any], x: Any) -> Any:
        return self.tasks[fn.__name__].delay(x)

    def result(self, handle: Any, timeout: float) -> Any:
        return handle.get(timeout=timeout)

    def chunked(self, n: int) -> Sequence[int]:
        whole = self.tasks["noop"].chunks(((i,) for i in range(n)), 100).apply_async()
        # One by one: for short runs several times faster than whole.get(), for long ones the same.
        return [x for chunk in whole.results for x in chunk.get(timeout=60.0)]


class CeleryRabbitMQ(CeleryRedis):
    title = "Celery, RabbitMQ"
    packages = ("celery",)
    broker = RabbitMQ


class CeleryRedisLate(CeleryRedis):
    title = "Celery, Redis, late ack + reject on lost"
    in_farm = False
    late = "1"


class CeleryRabbitMQLate(CeleryRabbitMQ):
    title = "Celery, RabbitMQ, late ack + reject on lost"
    in_farm = False
    late = "1"
