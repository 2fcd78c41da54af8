"""Real servers for tests, by `oche.servers`; and what a test does where one is not installed."""

from __future__ import annotations

import importlib.util
import os

import pytest

from oche.servers.beanstalkd import Beanstalkd as Beanstalkd
from oche.servers.gearmand import Gearmand as Gearmand
from oche.servers.memcached import Memcached as Memcached
from oche.servers.nsq import NSQD as NSQD
from oche.servers.nsq import NSQLookupd as NSQLookupd
from oche.servers.rabbitmq import RabbitMQ as RabbitMQ
from oche.servers.redis import Redis as Redis
from oche.servers.server import Server as Server
from oche.servers.server import find
from oche.servers.server import free_port as free_port

_HINTS = {
    "beanstalkd": "apt install beanstalkd",
    "greenstalk": "pip install 'oche[beanstalkd]'",
    "redis-server": "apt install redis-server",
    "redis": "pip install 'oche[redis]'",
    "rabbitmq-server": "apt install rabbitmq-server",
    "pika": "pip install 'oche[rabbitmq]'",
    "memcached": "apt install memcached",
    "nsqd": "sh tests/build_nsq.sh",
    "nsqlookupd": "sh tests/build_nsq.sh",
    "nsq_tail": "sh tests/build_nsq.sh",
    "nsq": "pip install 'oche[nsq]'",
    **dict.fromkeys(("sklearn", "scipy", "IPython", "ipykernel", "nbclient"), "pip install 'oche[test]'"),
    "pymemcache": "pip install 'oche[memcached]'",
    "celery": "pip install 'oche[celery]'",
    "distributed": "pip install 'oche[dask]'",
    "ipyparallel": "pip install 'oche[ipyparallel]'",
    "gearmand": "apt install gearman-job-server",
    "gearadmin": "apt install gearman-tools",
    "mpi4py": "pip install 'oche[mpi]'",
    "mpiexec.mpich": "apt install mpich",
    "mpiexec.openmpi": "apt install openmpi-bin",
    "ppft": "pip install 'oche[parallel_python]'",
}


def missing(program: str | None = None, package: str | None = None) -> None:
    """Skips the test, saying why and how to get it, if a program or an importable package is not here.

    Where the environment sets CI it fails instead, so that no suite is green by being empty.
    """
    lacks = [name for name in (program,) if name and find(name) is None]
    lacks += [name for name in (package,) if name and importlib.util.find_spec(name) is None]
    if lacks:
        reason = "; ".join(f"{name} is not installed: {_HINTS.get(name, f'install {name}')}" for name in lacks)
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
