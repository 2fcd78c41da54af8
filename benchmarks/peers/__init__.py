"""One adapter a peer, all with the face of `peers.base.Peer`; a library is imported only when its peer starts."""

from __future__ import annotations

from importlib import import_module

from peers.base import Peer

#: name on the command line -> "module:class", in the order of the tables
PEERS = {
    "pool": "stdlib:Pool",
    "ppe": "stdlib:PPE",
    "loky": "loky:Loky",
    "joblib": "joblib:Joblib",
    "ppft": "ppft:Ppft",
    "dask": "dask:Dask",
    "ipyparallel": "ipyparallel:IPyParallel",
    "parsl": "parsl:Parsl",
    "ray": "ray:Ray",
    "celery-redis": "celery:CeleryRedis",
    "celery-rabbitmq": "celery:CeleryRabbitMQ",
    "celery-redis-late": "celery:CeleryRedisLate",
    "celery-rabbitmq-late": "celery:CeleryRabbitMQLate",
    "rq": "rq:RQ",
    "rq-simple": "rq:RQSimple",
    "huey": "huey:Huey",
    "dramatiq": "dramatiq:Dramatiq",
    "greenstalk": "greenstalk:Greenstalk",
    "oche-local": "oche:Local",
    "oche-sqlite": "oche:SQLite",
    "oche-beanstalkd": "oche:Beanstalkd",
    "oche-redis": "oche:Redis",
    "oche-rabbitmq": "oche:RabbitMQ",
    "oche-nsq": "oche:NSQ",
    "oche-gearman": "oche:Gearman",
}


def load(name: str) -> type[Peer]:
    """The adapter of this name."""
    module, _, attribute = PEERS[name].partition(":")
    peer: type[Peer] = getattr(import_module(f"peers.{module}"), attribute)
    return peer
