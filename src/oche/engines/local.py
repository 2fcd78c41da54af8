"""`local:`: the broker is in this process, and the crew of child processes is in its care."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from oche.cluster.desk import Desk
from oche.cluster.executor import Cluster
from oche.cluster.journal import Journal
from oche.errors import Broken, ConfigError
from oche.queues.memory import MemoryQueue
from oche.stores.seam import Store
from oche.wire.names import Farm
from oche.wire.pickles import pickled
from oche.wire.signing import Unsealed
from oche.worker.cores import usable_cores
from oche.worker.node import Worker, WorkerOptions


def open_local(
    run: str, journal: Journal | None, store: Store | None, *, store_url: str = "", max_workers: int | None = None,
    initializer: Callable[..., object] | None = None, initargs: tuple[Any, ...] = (),
) -> Cluster:  # fmt: skip
    """A cluster of `max_workers` child processes (as many as this process may use cores).

    `store_url` is the store's with its password, which `store.url` lacks.
    """
    slots = usable_cores() if max_workers is None else max_workers
    if slots < 1:
        raise ConfigError(f"max_workers is {max_workers}; a cluster has at least one worker")
    queue = MemoryQueue()
    signer = Unsealed()
    farm = Farm()
    options = WorkerOptions(
        slots=slots,
        farm=farm,
        path=tuple(sys.path),
        store=store_url,
        initializer=None if initializer is None else pickled((initializer, initargs)),
    )
    worker = Worker(queue.clone(), signer, options)
    desk = Desk(queue, signer, farm, run, slots=slots, journal=journal, store=store)
    worker.on_failure = lambda text: desk.break_down(Broken(f"the initializer failed in a worker: {text}"))
    worker.start()

    def close() -> None:
        worker.stop()
        worker.join(10.0)

    return Cluster(desk, "local:", store=store, on_close=close)
