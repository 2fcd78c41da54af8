"""What can be started on this machine for trying: each kind as one URL, and all that stands behind it.

with up("celery", slots=2, folder=Path("/tmp/x")) as url:      # a Redis and a Celery worker
    ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from oche.errors import ConfigError
from oche.servers.server import Server
from oche.servers.workers import Workers

#: Engines that start what they need by themselves.
ALONE = ("local", "process", "thread", "mpi")


def _sqlite(folder: Path) -> str:
    return f"sqlite:///{folder}/jobs.db"


def _beanstalkd(folder: Path) -> Server:
    from oche.servers.beanstalkd import Beanstalkd

    return Beanstalkd(folder / "beanstalkd")


def _redis(folder: Path) -> Server:
    from oche.servers.redis import Redis

    return Redis(folder / "redis")


def _rabbitmq(folder: Path) -> Server:
    from oche.servers.rabbitmq import RabbitMQ

    return RabbitMQ(folder / "rabbitmq")


def _nsq(folder: Path) -> Server:
    from oche.servers.nsq import NSQD

    return NSQD(folder / "nsq")


def _gearman(folder: Path) -> Server:
    from oche.servers.gearmand import Gearmand

    return Gearmand()


#: Brokers, on which our own workers stand.
BROKERS: Mapping[str, Callable[[Path], Server]] = {
    "beanstalkd": _beanstalkd,
    "redis": _redis,
    "rabbitmq": _rabbitmq,
    "nsq": _nsq,
    "gearman": _gearman,
}


def _celery(broker: str, slots: int, folder: Path) -> Server:
    from oche.servers.celery import CeleryWorker

    return CeleryWorker(broker, slots, folder)


def _dask(_broker: str, slots: int, folder: Path) -> Server:
    from oche.servers.dask import DaskCluster

    return DaskCluster(folder / "dask", slots)


def _ipyparallel(_broker: str, slots: int, folder: Path) -> Server:
    from oche.servers.ipyparallel import IPythonCluster

    return IPythonCluster(folder / "ipyparallel", slots)


def _parallel_python(_broker: str, slots: int, folder: Path) -> Server:
    from oche.servers.parallel_python import PPServer

    return PPServer(slots)


#: Frameworks that bring their own workers: on top of which broker, if any, and what is started there.
FRAMEWORKS: Mapping[str, tuple[str, Callable[[str, int, Path], Server]]] = {
    "celery": ("redis", _celery),
    "dask": ("", _dask),
    "ipyparallel": ("", _ipyparallel),
    "pp": ("", _parallel_python),
}

#: All that `up` knows.
KINDS = ("sqlite", *BROKERS, *FRAMEWORKS)


@contextmanager
def up(kind: str, slots: int, folder: Path) -> Iterator[str]:
    """The URL of a cluster of `slots` workers; its servers keep what they write in `folder`.

    They end with the block, and with this process however that ends. Raises `ConfigError` for another kind,
    `Unsupported` with the way to get it where one is not installed, `Disconnected` where one does not come up.
    """
    if kind not in KINDS:
        raise ConfigError(f"{kind!r} is nothing that can be started here; there are {', '.join(KINDS)}")
    with ExitStack() as stack:

        def start(server: Server) -> str:
            server.ends_with_us = True
            return stack.enter_context(server).url

        if kind in FRAMEWORKS:
            broker, make = FRAMEWORKS[kind]
            below = start(BROKERS[broker](folder)) if broker else ""
            yield start(make(below, slots, folder))
        else:
            url = _sqlite(folder) if kind == "sqlite" else start(BROKERS[kind](folder))
            yield start(Workers(url, slots))
