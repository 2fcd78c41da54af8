"""`thread:`: the standard library's pool of threads, `concurrent.futures.ThreadPoolExecutor`.

For calls that wait for others, or that compute without Python's lock as numpy and our kernels do; and the quickest to
start. Arguments and results are copies here, too, as on every engine, so a program moves on from here unchanged.

What it lacks beside `local:`, and what becomes of that:

- There is one process: a call that kills it ends the program.
- A thread cannot be interrupted: a task with a time limit is refused (`Unsupported`).
- A call that runs cannot be ended from outside. One that does not look at `oche.stopping()` runs on, and its answer is
  dropped; the program waits for it at its end, as it does for any thread.
- What calls print goes to the program's own output.
"""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Self

from oche.engines.process import workers
from oche.engines.seam import Engine, EngineTraits, Start

URL = "thread:"


class ThreadEngine(Engine):
    """`thread:` and nothing else; as many threads as this program may use cores, unless `max_workers` says."""

    traits = EngineTraits(here=True, timeout=False, stop=True, kill=False, survives=False, output=False)

    def __init__(self, slots: int, start: Start) -> None:
        self.slots, self._start = slots, start

    @classmethod
    def open(cls, url: str, start: Start) -> Self:
        return cls(workers(url, URL, start), start)

    def executor(self) -> Executor:
        start = self._start
        return ThreadPoolExecutor(self.slots, "oche-thread", start.initializer, start.initargs)
