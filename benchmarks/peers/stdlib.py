"""The standard library: multiprocessing.Pool and ProcessPoolExecutor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from peers.base import Executor, Peer
from work import noop


class Pool(Peer):
    title = "multiprocessing.Pool"
    core = True
    note = "its default chunk is n / 8"

    def start(self) -> None:
        import multiprocessing

        self.pool = multiprocessing.Pool(2)

    def submit(self, fn: Callable[[Any], Any], x: Any) -> Any:
        return self.pool.apply_async(fn, (x,))

    def result(self, handle: Any, timeout: float) -> Any:
        return handle.get(timeout)

    def batched(self, n: int) -> Sequence[int]:
        return self.pool.map(noop, range(n))

    def chunked(self, n: int) -> Sequence[int]:
        return self.pool.map(noop, range(n), chunksize=100)


class PPE(Executor):
    title = "ProcessPoolExecutor"
    core = True

    def start(self) -> None:
        from concurrent.futures import ProcessPoolExecutor

        self.executor = ProcessPoolExecutor(2)
