"""A worker: the slots, the watch and the sweeper of one node, from start to drain."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from oche.queues.link import Link
from oche.queues.seam import Queue
from oche.stores.opening import SECRETS
from oche.wire.signing import Signer
from oche.worker.crew import Child, child_environment
from oche.worker.frames import Setup
from oche.worker.hand import Hand
from oche.worker.options import WorkerOptions, worker_name
from oche.worker.slot import Slot, Unfit
from oche.worker.sweep import Sweeper
from oche.worker.values import Values
from oche.worker.watch import Watch

log = logging.getLogger("oche")

__all__ = ["Worker", "WorkerOptions"]


class Worker:
    """Serves jobs from a queue until it is drained or stopped. The queue stays its giver's to close.

    `on_failure(text)` is called once, from a thread of the worker, when its children cannot start; the worker
    has then stopped itself. `spawn` makes what computes for a slot; without it, a child process.
    """

    def __init__(
        self,
        queue: Queue,
        signer: Signer,
        options: WorkerOptions,
        *,
        on_failure: Callable[[str], None] | None = None,
        spawn: Callable[[Setup], Hand] | None = None,
    ) -> None:
        self.name = worker_name(options.slots)  #: host.pid.slots
        self.failed: str | None = None  #: why no child can start
        self._queue = queue
        self._signer = signer
        self._options = options
        self.on_failure = on_failure
        self._spawn = spawn
        self._lock = threading.Lock()
        self._slots: list[Slot] = []
        self._threads: list[threading.Thread] = []
        self._timer: threading.Timer | None = None
        self._watch_closing = threading.Event()
        self._watch: Watch | None = None
        self._watch_thread: threading.Thread | None = None
        self._values = Values()

    def start(self) -> None:
        """Opens a connection for each slot and starts its child. Raises `Disconnected` if the broker is away."""
        options = self._options
        link = Link(self._queue.clone(), f"the watch of {self.name}", closing=self._watch_closing)
        self._watch = Watch(link, options.farm, closing=self._watch_closing)
        sweeper = Sweeper(options.farm)
        spawn = self._spawn or self._children()
        try:
            for number in range(options.slots):
                closing = threading.Event()
                slot = Slot(
                    number,
                    self.name,
                    link=Link(self._queue.clone(), f"slot {number} of {self.name}", closing=closing),
                    closing=closing,
                    signer=self._signer,
                    options=options,
                    spawn=spawn,
                    watch=self._watch,
                    sweeper=sweeper,
                    values=self._values,
                )
                self._slots.append(slot)
        except BaseException:
            link.close()
            for slot in self._slots:
                slot.leave(now=True)
            raise
        watch, slots = self._watch, tuple(self._slots)
        self._watch_thread = threading.Thread(target=lambda: watch.run(slots), name="oche-watch", daemon=True)
        self._watch_thread.start()
        for number, slot in enumerate(slots):
            thread = threading.Thread(target=self._serve, args=(slot,), name=f"oche-slot-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()
        log.info("worker %s serves %s", self.name, options.farm.work)

    def _children(self) -> Callable[[Setup], Hand]:
        environment = child_environment(self._options.slots)
        if self._options.store:
            environment[SECRETS] = f"{self._options.store} {environment.get(SECRETS, '')}"
        return lambda setup: Child(setup, environment=environment)

    def _serve(self, slot: Slot) -> None:
        try:
            slot.run()
        except Unfit as error:
            self._fail(str(error))
        except Exception as error:
            log.exception("a slot of %s broke", self.name)
            self._fail(f"a slot broke: {type(error).__name__}: {error}")

    def _fail(self, text: str) -> None:
        with self._lock:
            first = self.failed is None
            if first:
                self.failed = text
        self.stop()
        if first:
            log.error("worker %s cannot go on: %s", self.name, text)
            if self.on_failure is not None:
                self.on_failure(text)

    def drain(self, grace: float | None = None) -> None:
        """Takes no more jobs; what still runs after `grace` seconds is handed back. Returns at once."""
        for slot in self._slots:
            slot.leave(now=False)
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(self._options.grace if grace is None else grace, self.stop)
                self._timer.daemon = True
                self._timer.start()

    def stop(self) -> None:
        """Hands back what runs, now; no attempt is counted. Returns at once; `join` waits for the end."""
        for slot in self._slots:
            slot.leave(now=True)

    def join(self, timeout: float | None = None) -> bool:
        """Waits up to `timeout` seconds for the end of a drain or stop; True if it has come."""
        until = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:
            thread.join(None if until is None else max(0.0, until - time.monotonic()))
            if thread.is_alive():
                return False
        if self._timer is not None:
            self._timer.cancel()
        self._values.close()
        self._watch_closing.set()
        if self._watch is not None and self._watch_thread is not None:
            self._watch.close()
            self._watch_thread.join(None if until is None else max(0.01, until - time.monotonic()))
            return not self._watch_thread.is_alive()
        return True

    @property
    def busy(self) -> int:
        """Slots that run a job at this moment."""
        return sum(slot.job is not None for slot in self._slots)
