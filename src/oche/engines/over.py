"""`over`: any PEP 3148 executor behind the face of a cluster.

    client -- queue in this process --> a slot for each worker of the executor -- executor.submit --> remote.run

It is the client and the worker of every other engine, with other hands: what is true of those is true here.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from os import urandom
from typing import Self

from oche.cluster.desk import Desk
from oche.cluster.executor import Cluster
from oche.cluster.journal import Journal
from oche.cluster.lacking import Lacking
from oche.engines.borrowed import Borrowed
from oche.engines.pool import Pool
from oche.engines.seam import Engine, EngineTraits, Start
from oche.errors import Broken, ConfigError
from oche.queues.memory import MemoryQueue
from oche.stores.opening import here_store
from oche.stores.seam import Store
from oche.wire.names import Farm
from oche.wire.signing import Unsealed
from oche.worker.cores import usable_cores
from oche.worker.node import Worker, WorkerOptions


def over(executor: Executor) -> Cluster:
    """The executor as a cluster; it stays its owner's to shut down, after the cluster.

    `max_workers` calls run at a time, or as many as there are cores where the executor does not tell. Once it breaks,
    all calls fail with `Broken`. Its workers must have oche. Raises `ConfigError` for what is no executor, or takes no
    calls, and for a cluster, which has this face.
    """
    if isinstance(executor, Cluster) or not isinstance(executor, Executor):
        raise ConfigError(
            f"over() was given a {type(executor).__name__}; give a concurrent.futures.Executor, such as "
            "ProcessPoolExecutor(), or a URL to `connect`"
        )
    try:
        executor.submit(int)  # now, as it may fork: we have no threads yet
    except RuntimeError as error:
        raise ConfigError(f"the executor given to over() takes no calls ({error}); give one that is open") from error
    engine = Given(executor)
    with ExitStack() as undo:
        store = undo.enter_context(here_store()) if engine.traits.here else None
        cluster = open_over(engine, f"over:{type(executor).__name__}", f"_{urandom(8).hex()}", None, store)
        undo.pop_all()
    return cluster


class Given(Engine):
    """An executor that somebody else made."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        slots = getattr(executor, "_max_workers", None)
        self.slots = slots if isinstance(slots, int) and slots > 0 else usable_cores()
        self.traits = EngineTraits(
            here=isinstance(executor, ProcessPoolExecutor | ThreadPoolExecutor),
            timeout=not isinstance(executor, ThreadPoolExecutor),
            stop=isinstance(executor, ProcessPoolExecutor | ThreadPoolExecutor),
            kill=False,
            survives=False,
            output=False,
        )

    @classmethod
    def open(cls, url: str, start: Start) -> Self:
        """There is no URL for it."""
        raise ConfigError(f"{url!r} names no executor; give the executor itself to oche.over")

    def executor(self) -> Executor:
        return self._executor

    def end(self, executor: Executor) -> None:
        """It is not ours."""


def open_over(engine: Engine, url: str, run: str, journal: Journal | None, store: Store | None) -> Cluster:
    """A cluster over an open engine, which ends with it."""
    queue, signer, farm = MemoryQueue(), Unsealed(), Farm()
    pool = Pool(engine)
    options = WorkerOptions(slots=engine.slots, farm=farm, path=tuple(sys.path))
    worker = Worker(queue.clone(), signer, options, spawn=lambda setup: Borrowed(pool, setup))
    desk = Desk(queue, signer, farm, run, slots=engine.slots, journal=journal, store=store)
    if not engine.traits.timeout:
        desk.lacking = Lacking(
            queue.traits,
            timeless="the calls of this engine run in threads, which cannot be interrupted; leave the time limit out, "
            "or take an engine with processes (`oche engines`)",
        )
    worker.on_failure = lambda text: desk.break_down(Broken(f"the workers cannot go on: {text}"))
    worker.start()

    def close() -> None:
        worker.stop()
        worker.join(10.0)
        pool.close()

    cluster = Cluster(desk, url, store=store, on_close=close)
    _leave_first(cluster)
    return cluster


def _leave_first(cluster: Cluster) -> None:
    """Waits for what is out at the program's end, before the executors of the standard library take no more calls.

    They end before any `atexit` function is called, and there is no public way to be before them.
    """
    register: Callable[[Callable[[], None]], None] | None = getattr(threading, "_register_atexit", None)
    found = weakref.WeakMethod(cluster.leave)

    def leave() -> None:
        if (method := found()) is not None:
            method()

    if register is not None:
        with suppress(RuntimeError):  # the program is at its end already
            register(leave)
