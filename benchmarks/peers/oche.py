"""oche itself: without a server, on a file, and on each broker."""

from __future__ import annotations

import os
from collections.abc import Sequence

import servers
from peers.base import Executor, module
from work import noop


class Local(Executor):
    title = "oche, local:"
    core = True
    scheme = ""  #: of the driver that is needed
    url = "local:"

    def start(self) -> None:
        os.environ["OCHE_CONFIG_DIR"] = str(self.folder / "config")  # a key of its own
        import oche

        self.executor = oche.connect(self.url, max_workers=2)

    def single(self, n: int) -> Sequence[int]:
        return list(self.executor.map(noop, range(n), chunksize=1))


class SQLite(Local):
    title = "oche, sqlite:"
    victims = ("child", "node")

    def start(self) -> None:
        os.environ["OCHE_CONFIG_DIR"] = str(self.folder / "config")
        import oche

        self.executor = oche.connect(self.address())  # makes the key before a worker looks for it
        self.start_nodes()

    def address(self) -> str:
        return f"sqlite:///{self.folder}/farm.db"

    def command(self, number: int) -> list[str]:
        return module("oche.cli.main", "worker", self.address(), "--slots", "1")


class Beanstalkd(SQLite):
    title = "oche, beanstalkd"
    packages = ("greenstalk",)
    scheme = "beanstalkd"
    broker = servers.Beanstalkd

    def address(self) -> str:
        return self.server.url


class Redis(Beanstalkd):
    title = "oche, Redis"
    packages = ("redis",)
    scheme = "redis"
    broker = servers.Redis
    in_farm = False


class RabbitMQ(Redis):
    title = "oche, RabbitMQ"
    packages = ("pika",)
    scheme = "amqp"
    broker = servers.RabbitMQ

    def address(self) -> str:
        return self.server.url.rstrip("/")  # Celery wants the virtual host spelt out, and not as pika does


class NSQ(Redis):
    title = "oche, NSQ"
    packages = ("pynsq",)
    scheme = "nsq"
    broker = servers.NSQ


class Gearman(Redis):
    title = "oche, Gearman"
    packages = ()
    scheme = "gearman"
    broker = servers.Gearman
