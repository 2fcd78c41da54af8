"""The watch: one thread of a worker that looks at the stop signals, and only while a slot is busy."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Protocol

from oche.errors import Closed
from oche.queues.link import Link
from oche.wire.job import Job
from oche.wire.names import Farm

log = logging.getLogger("oche")


class Watched(Protocol):
    """What the watch sees of a slot."""

    @property
    def job(self) -> Job | None: ...

    def call_off(self, job: Job) -> None: ...


class Watch:
    """Keeps the set of raised stop signals, and calls off the jobs they name."""

    def __init__(self, link: Link, farm: Farm, *, closing: threading.Event) -> None:
        self._link = link
        self._farm = farm
        self._closing = closing
        self._pace = link.queue.traits.signal_pace
        self._busy = threading.Event()
        self.signals: frozenset[str] = frozenset()  #: as of the last look

    def wake(self) -> None:
        """A slot began a job."""
        if not self._busy.is_set():
            self._busy.set()

    def close(self) -> None:
        """Ends `run`. From any thread; set `closing` first."""
        self._busy.set()
        self._link.close()

    def run(self, slots: Sequence[Watched]) -> None:
        """Looks, every signal pace of the broker, while one of these slots has a job; until closed."""
        try:
            while not self._closing.wait(self._pace):
                if any(slot.job is not None for slot in slots):
                    self._look(slots)
                else:
                    self._busy.clear()
                    # Nothing may have happened between the look and the clearing: no job, no close.
                    if not self._closing.is_set() and not any(slot.job is not None for slot in slots):
                        self._busy.wait()
        except Closed:
            return
        finally:
            self._link.close()

    def _look(self, slots: Sequence[Watched]) -> None:
        farm = self._farm
        try:
            self.signals = frozenset(self._link.call(lambda queue: queue.signals(farm.stop_prefix)))
        except Closed:
            raise
        except Exception:
            log.exception("the stop signals could not be read")
            return
        if not self.signals:
            return
        for slot in slots:
            job = slot.job
            if job is not None and {farm.stop_job(job.id), farm.stop_run(job.run)} & self.signals:
                slot.call_off(job)
