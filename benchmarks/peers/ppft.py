"""Parallel Python (ppft)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from peers.base import Peer


class Ppft(Peer):
    title = "ppft"
    packages = ("ppft",)
    note = "its jobs know no time limit; a result is waited for by looking at `finished`"

    def start(self) -> None:
        import ppft

        self.jobs = ppft.Server(ncpus=2, ppservers=())

    def submit(self, fn: Callable[[Any], Any], x: Any) -> Any:
        return self.jobs.submit(fn, (x,), modules=("os", "time"))

    def result(self, handle: Any, timeout: float) -> Any:
        if timeout >= 60.0:  # a measure of speed: the library's own wait
            return handle()
        end = time.monotonic() + timeout
        while not handle.finished:
            if time.monotonic() >= end:
                raise TimeoutError
            time.sleep(0.01)
        return handle()
