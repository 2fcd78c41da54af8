"""The sweeper: what unnamed runs left behind when their client died goes, about once a minute, by idle slots.

A client watches its reply tube as long as it lives. A tube of an unnamed run that nobody watched at two looks,
half a minute apart, has no client: its outcomes and its stop signals are taken away. Named runs are left alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from oche.queues.seam import Queue
from oche.wire.names import Farm

log = logging.getLogger("oche")

#: Seconds between two sweeps of a worker, between the two looks, and until a job's stop signal has served.
EVERY, APART, SERVED = 60.0, 30.0, 3600.0
_BATCH = 100


class Sweeper:
    """One for all slots of a worker; whichever is idle when it is time does the work."""

    def __init__(self, farm: Farm, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._farm = farm
        self._clock = clock
        self._lock = threading.Lock()
        self._next = clock() + APART
        self._lonely: dict[str, float] = {}  # run -> since when nobody was seen to watch its tube
        self._signals: dict[str, float] = {}  # stop signal of a job -> since when it was seen

    def sweep(self, queue: Queue) -> None:
        """Does nothing unless it is time. Raises `Disconnected`."""
        if self._clock() < self._next or not self._lock.acquire(blocking=False):
            return
        try:
            self._next = self._clock() + EVERY
            self._sweep(queue)
        finally:
            self._lock.release()

    def _sweep(self, queue: Queue) -> None:
        farm, now = self._farm, self._clock()
        raised = queue.signals(farm.stop_prefix)
        unnamed = farm.reply_prefix + "_"
        stopped = {name for name in raised if name.startswith(farm.stop_run("_"))}
        runs = {tube.removeprefix(farm.reply_prefix) for tube in queue.tubes(unnamed)}
        runs |= {name.removeprefix(farm.stop_run("")) for name in stopped}
        lonely = {run for run in runs if queue.stats(farm.reply(run)).watching == 0}
        self._lonely = {run: self._lonely.get(run, now) for run in lonely}
        for run in [run for run, since in self._lonely.items() if now - since >= APART]:
            self._empty(queue, farm.reply(run))
            queue.unsignal(farm.stop_run(run))
            del self._lonely[run]
        # A job's signal does not tell whose it is; after so long there is no such job, or it may as well run.
        of_jobs = {name for name in raised if not name.startswith(farm.stop_run(""))}
        self._signals = {name: self._signals.get(name, now) for name in of_jobs}
        for name in [name for name, since in self._signals.items() if now - since >= SERVED]:
            queue.unsignal(name)
            del self._signals[name]

    def _empty(self, queue: Queue, tube: str) -> None:
        count = 0
        while found := queue.reserve_many([tube], _BATCH, 0.0):
            queue.delete_many(found)
            count += len(found)
        if count:
            log.info("swept %d outcomes from %s, whose client is gone", count, tube)
