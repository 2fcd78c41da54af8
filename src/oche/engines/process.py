"""`process:`: the standard library's pool of processes, `concurrent.futures.ProcessPoolExecutor`.

What it lacks beside `local:`, and what becomes of that:

- A process that dies takes the whole pool along. The pool is replaced, and its calls are put again: see `pool`.
- A call that runs cannot be ended from outside. One that does not look at `oche.stopping()` runs on, and its answer is
  dropped; at the end of the cluster its process is killed.
- A call over its time limit is interrupted in Python code only. In compiled code it is given up after two seconds more.
- What calls print goes to the program's own output.
- By the library's rule a program needs `if __name__ == "__main__":`, since each process imports it once more.

Processes are started by a fork server, which has none of the program's threads and locks.
"""

from __future__ import annotations

import time
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from typing import Any, Self

from oche.engines import remote
from oche.engines.seam import Engine, EngineTraits, Start
from oche.errors import ConfigError
from oche.wire.pickles import pickled
from oche.worker.cores import usable_cores

URL = "process:"
#: Seconds that processes get to leave by themselves.
GRACE = 1.0


class ProcessEngine(Engine):
    """`process:` and nothing else; as many processes as this program may use cores, unless `max_workers` says."""

    traits = EngineTraits(here=True, timeout=True, stop=True, kill=False, survives=True, output=False)

    def __init__(self, slots: int, initializer: bytes, store: str) -> None:
        self.slots = slots
        self._begin = (slots, store, initializer)
        self._family = _Family()

    @classmethod
    def open(cls, url: str, start: Start) -> Self:
        slots = workers(url, URL, start)
        initializer = b"" if start.initializer is None else pickled((start.initializer, start.initargs))
        return cls(slots, initializer, start.store)

    def executor(self) -> Executor:
        return ProcessPoolExecutor(self.slots, self._family, remote.begin, self._begin)

    def end(self, executor: Executor) -> None:
        """Those that still run a call after `GRACE` seconds are killed."""
        executor.shutdown(wait=False, cancel_futures=True)
        until = time.monotonic() + GRACE
        left = self._family.living()
        while left and (ended := wait(list(left), max(0.0, until - time.monotonic()))):
            left = {sentinel: process for sentinel, process in left.items() if sentinel not in ended}
        for process in left.values():
            process.kill()
        if left:
            wait(list(left), GRACE)


class _Family(ForkServerContext):
    """Knows the processes that it made: a pool does not tell, and a broken one forgets them."""

    def __init__(self) -> None:
        super().__init__()
        self._made: list[BaseProcess] = []

    def Process(self, *args: Any, **options: Any) -> BaseProcess:  # type: ignore[override]
        gone = wait(list(self.living()), 0.0)
        self._made = [process for process in self._made if process.pid is None or process.sentinel not in gone]
        self._made.append(ForkServerContext.Process(*args, **options))
        return self._made[-1]

    def living(self) -> dict[int, BaseProcess]:
        """Those that were started, by what tells their end; some may have ended."""
        return {process.sentinel: process for process in self._made if process.pid is not None}


def workers(url: str, only: str, start: Start) -> int:
    """How many, for a URL that is `only` this. Raises `ConfigError` for anything else."""
    if url != only:
        raise ConfigError(f"{url!r} has something after `{only}`; say connect({only!r}, max_workers=N)")
    if start.max_workers is not None and start.max_workers < 1:
        raise ConfigError(f"max_workers is {start.max_workers}; a cluster has at least one worker")
    return usable_cores() if start.max_workers is None else start.max_workers
