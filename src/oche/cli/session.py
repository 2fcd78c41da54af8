"""Opening what a verb works on: a cluster to compute with, or a broker to look at."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from oche.cli.options import log_to_stderr
from oche.cli.output import note
from oche.errors import ConfigError
from oche.plugins import without_password

if TYPE_CHECKING:
    from oche.cluster.executor import Cluster
    from oche.queues.seam import Queue
    from oche.wire.names import Farm


@contextmanager
def cluster_at(url: str | None, run_name: str | None, workers: int | None) -> Iterator[Cluster]:
    """An open cluster; whatever ends the block early, Ctrl-C above all, calls off what is under way."""
    from oche.engines.opening import connect

    log_to_stderr(logging.WARNING)
    cluster = connect(url, run=run_name, max_workers=workers)
    try:
        yield cluster
    except BaseException:
        cluster.shutdown(cancel_futures=True)
        if run_name is not None:
            note(f"run {run_name!r} keeps what is finished; go on with `oche runs resume {run_name}`")
        raise
    cluster.shutdown()


def address_of(url: str) -> tuple[str, Farm]:
    """The URL for the driver, and the farm. Raises `ConfigError` for engines that have no broker of ours."""
    from oche.engines.opening import schemes
    from oche.wire.names import split_farm

    if urlsplit(url).scheme in ("local", *schemes()):
        raise ConfigError(
            f"the workers of {without_password(url)} are inside of a program, or another library's, and cannot be "
            "reached from here; give the URL of a broker, such as sqlite:///jobs.db or beanstalkd://host"
        )
    return split_farm(url)


@contextmanager
def broker_at(url: str, *, make: bool = False) -> Iterator[tuple[Queue, Farm]]:
    """An open queue and its farm; a broker that is a file is made only if `make`.

    Raises as `address_of`, and `Disconnected` where no broker answers.
    """
    from oche.queues.opening import find_queue, open_queue

    address, farm = address_of(url)
    with (open_queue if make else find_queue)(address) as queue:
        yield queue, farm
