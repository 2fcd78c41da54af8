"""The executor behind an engine: replaced when it broke, and shared by the slots so that blame is never wrong for good.

When a process of a pool dies, the pool ends the calls of all its other processes, too, and does not tell who is to
blame. So each of them has one try less, and whoever has only one left runs alone: if the pool breaks again, it was he.
"""

from __future__ import annotations

import threading
from concurrent.futures import BrokenExecutor, Future

from oche.engines import remote
from oche.engines.seam import Engine
from oche.worker.slot import Unfit

#: Executors in a row that broke before any call began.
DEATHS = 3

Answer = Future[tuple[int, bytes]]


class Pool:
    """One engine's executor. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._executor = engine.executor()
        self._turn = threading.Condition()  # guards all that follows
        self._running: set[object] = set()
        self._alone: object = None  #: who runs alone, or waits for the others to end
        self._deaths = 0
        self._closed = False
        self.suspects: set[str] = set()  #: ids of jobs that ran when an executor broke

    def call(self, who: object, alone: bool, page: str, worker: str, body: bytes, attempt: int) -> Answer | None:
        """Lets a job run; None where it must wait: for one that runs alone, or, to be `alone` itself, for all others.

        Raises `Unfit` where the executor is at its end.
        """
        with self._turn:
            if alone and self._alone is None:
                self._alone = who  # from now on nobody else begins
            if self._alone not in (None, who) or (alone and self._running):
                return None
            future = self._submit(page, worker, body, attempt)
            self._running.add(who)
            return future

    def wait(self, timeout: float) -> None:
        """Until the next call has ended, or `timeout` seconds."""
        with self._turn:
            self._turn.wait(timeout)

    def ended(self, who: object, *, begun: bool) -> None:
        """The call has ended, or is given up; `begun`: somebody worked at it, so that the executor does start."""
        with self._turn:
            self._running.discard(who)
            if self._alone is who:
                self._alone = None
            if begun:
                self._deaths = 0
            self._turn.notify_all()

    def close(self) -> None:
        """Ends what the engine made, and the engine."""
        self._closed = True  # not by the lock: somebody may have it who waits for a new executor
        self.engine.end(self._executor)
        self.engine.close()

    def _submit(self, page: str, worker: str, body: bytes, attempt: int) -> Answer:
        while True:
            try:
                return self._executor.submit(remote.run, page, worker, self.engine.slots, body, attempt)
            except (BrokenExecutor, OSError, EOFError) as error:  # or its helper, or its server, is gone
                self._replace(error)
            except RuntimeError as error:
                raise Unfit(f"the executor takes no more calls ({error}); shut the cluster down before it") from error

    def _replace(self, error: Exception) -> None:
        self._deaths += 1
        if not self.engine.traits.survives:
            raise Unfit(f"the executor broke, and it is not ours to replace: {error}") from error
        if self._deaths >= DEATHS:
            raise Unfit(
                f"{DEATHS} executors in a row broke before any call began ({error}); their initializer failed, or the "
                'program has no `if __name__ == "__main__":` around what it does; stderr tells more'
            ) from error
        self.engine.end(self._executor)  # a pool that broke while it started a process would wait for that for ever
        self._executor = self.engine.executor()
        if self._closed:
            self.engine.end(self._executor)
            raise Unfit("the cluster was closed while its executor was replaced")
