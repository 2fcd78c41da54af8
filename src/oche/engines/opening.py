"""`connect`: a URL to an open cluster. Engines that are executors are entry points, so that others can bring theirs."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, closing
from importlib.metadata import EntryPoint
from typing import Any
from urllib.parse import urlsplit

from oche.cluster.desk import Desk
from oche.cluster.executor import Cluster
from oche.cluster.journal import Journal
from oche.engines.seam import Engine, Start
from oche.errors import ConfigError, Unsupported
from oche.plugins import drivers, load_driver
from oche.queues.opening import driver, local_host
from oche.stores.opening import here_store, open_store
from oche.stores.seam import Store
from oche.wire.names import split_farm
from oche.wire.signing import Signer, load_key
from oche.worker.cores import usable_cores

#: Schemes of queues whose workers are all on this machine.
ONE_MACHINE = ("local", "sqlite")
#: Name of the entry points: scheme = "module:EngineClass".
GROUP = "oche.engines"

_BUILT_IN = {
    "celery": "oche.engines.celery:CeleryEngine",
    "celery+redis": "oche.engines.celery:CeleryEngine",
    "celery+rediss": "oche.engines.celery:CeleryEngine",
    "celery+amqp": "oche.engines.celery:CeleryEngine",
    "celery+amqps": "oche.engines.celery:CeleryEngine",
    "dask": "oche.engines.dask:DaskEngine",
    "ipyparallel": "oche.engines.ipyparallel:IPyParallelEngine",
    "mpi": "oche.engines.mpi:MPIEngine",
    "pp": "oche.engines.parallel_python:ParallelPythonEngine",
    "process": "oche.engines.process:ProcessEngine",
    "thread": "oche.engines.thread:ThreadEngine",
}


def schemes() -> dict[str, EntryPoint]:
    """The known engines that are executors: those of this package, and those that others installed."""
    return drivers(GROUP, _BUILT_IN)


def connect(
    url: str | None = None, *, run: str | None = None, store: str | None = None, max_workers: int | None = None,
    initializer: Callable[..., object] | None = None, initargs: tuple[Any, ...] = (),
) -> Cluster:  # fmt: skip
    """Opens the cluster behind a URL.

    `local:` starts `max_workers` processes on this machine, each of which calls `initializer(*initargs)`
    first; so do `process:` and `thread:`, over the standard library's executors (`oche engines` lists what there is,
    and what each lacks). `sqlite:///path` and `beanstalkd://host:port` put the work where `oche worker URL` takes it.
    Without a URL: the environment's `OCHE_URL`, else `local:`. `?farm=NAME` keeps apart those who share a broker.

    `run` names the run: what was submitted and finished is then kept in a journal on this machine, and the
    same program started again goes on where it was stopped, whatever stopped it.

    `store` says where large arrays go, and calls and results over the broker's limit, so that jobs carry a
    reference: `memory:` (what this machine's processes share; taken by itself where all workers are on this
    machine), `files:///folder` (one that all machines see), `redis://host`, `memcached://host`. Workers find the
    password of such a URL in their environment's `OCHE_STORE`, never in a job.

    Raises `ConfigError` for a URL or option that cannot be right, `Disconnected` where no broker answers,
    `KeyMissing` where the broker is on another machine and this one has no key.
    """
    url = url or os.environ.get("OCHE_URL") or "local:"
    name = run if run is not None else f"_{os.urandom(8).hex()}"
    scheme = urlsplit(url).scheme
    kind: type[Engine] | None = load_driver(url, schemes(), "engine") if scheme in schemes() else None
    if kind is None and scheme != "local" and (max_workers is not None or initializer is not None):
        raise Unsupported(
            f"the workers of {url} are not started by connect; start them with `oche worker {url} --slots N`"
        )
    with ExitStack() as undo:
        engine: Engine | None = None
        if kind is not None:
            start = Start(max_workers=max_workers, initializer=initializer, initargs=initargs, store=store or "")
            engine = kind.open(url, start)
            undo.callback(engine.close)
        here = scheme in ONE_MACHINE if engine is None else engine.traits.here
        values = _open_store(store, url, here=here, near=here or local_host(url))
        if values is not None:
            undo.enter_context(values)
        journal = None if run is None else undo.enter_context(closing(Journal(run, url)))
        if engine is not None:
            from oche.engines.over import open_over  # a worker comes with it

            cluster = open_over(engine, url, name, journal, values)
        elif scheme == "local":
            cluster = _open_local(url, name, journal, values, store or "", max_workers, initializer, initargs)
        else:
            cluster = _open_farm(url, name, journal, values)
        undo.pop_all()
    return cluster


def _open_store(store: str | None, url: str, *, here: bool, near: bool) -> Store | None:
    """The one that was asked for; else, where all workers are `here`, on this machine, what that has.

    `near`: they are here if the caller says so, by asking for what only this machine has.
    """
    if store is None and here:
        return here_store()
    values = None if store is None else open_store(store)
    if values is not None and values.traits.here_only and not near:
        raise Unsupported(
            f"the workers of {url} may be on other machines, which do not see store={store!r}; take "
            "a folder that all see, store='files:///folder'"
        )
    return values


def _open_local(
    url: str, run: str, journal: Journal | None, store: Store | None, store_url: str, max_workers: int | None,
    initializer: Callable[..., object] | None, initargs: tuple[Any, ...],
) -> Cluster:  # fmt: skip
    if url != "local:":
        raise ConfigError(f"{url!r} has something after `local:`; say connect('local:', max_workers=N)")
    from oche.engines.local import open_local  # a worker comes with it

    return open_local(
        run, journal, store, store_url=store_url, max_workers=max_workers, initializer=initializer, initargs=initargs
    )


def _open_farm(url: str, run: str, journal: Journal | None, store: Store | None) -> Cluster:
    address, farm = split_farm(url)
    queue_of_scheme = driver(address)
    signer = Signer(load_key(local=local_host(address)))
    queue = queue_of_scheme.open(address)
    try:
        desk = Desk(queue, signer, farm, run, slots=usable_cores(), journal=journal, store=store)
    except BaseException:
        queue.close()
        raise
    return Cluster(desk, url, store=store)
