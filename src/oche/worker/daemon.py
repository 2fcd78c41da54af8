"""A worker as a program: it ends on SIGTERM or Ctrl-C, gently at the first and at once at the second."""

from __future__ import annotations

import logging
import signal
from types import FrameType
from typing import Protocol

log = logging.getLogger("oche")

_LOOK = 0.25  # seconds; signals interrupt the wait only as far as their handlers


class Served(Protocol):
    """A worker, or what behaves like one."""

    name: str
    failed: str | None

    def start(self) -> None:
        """Begins to take jobs."""

    def drain(self) -> None:
        """Takes no more; returns at once."""

    def stop(self) -> None:
        """Ends now; returns at once."""

    def join(self, timeout: float) -> bool:
        """Waits for the end."""

    @property
    def busy(self) -> int:
        """Jobs that run."""


def serve(worker: Served) -> int:
    """Runs the worker until a signal ends it; returns the exit status: 0, or 1 if its children cannot start.

    Must be called in the main thread. Raises `Disconnected` if the broker is away at the start.
    """
    asked: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        worker.start()
        answered = 0
        while not worker.join(_LOOK):
            if asked and answered == 0:
                answered = 1
                log.warning("worker %s: drains, %d jobs running; once more to end now", worker.name, worker.busy)
                worker.drain()
            if len(asked) > 1 and answered == 1:
                answered = 2
                log.warning("worker %s: ends now and hands back %d jobs", worker.name, worker.busy)
                worker.stop()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    log.info("worker %s has ended", worker.name)
    return 0 if worker.failed is None else 1
