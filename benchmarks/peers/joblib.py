"""joblib: whole calls of `Parallel`, which has no submit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any

from peers.base import Missing, Peer
from work import noop


class Joblib(Peer):
    title = "joblib"
    packages = ("joblib",)
    core = True
    note = "one by one: batch_size=1; a call is one Parallel()"

    def start(self) -> None:
        import joblib

        self.joblib = joblib
        self.parallel = joblib.Parallel(n_jobs=2)
        self.parallel.__enter__()  # keeps its workers between calls

    def submit(self, fn: Callable[[Any], Any], x: Any) -> Any:
        return fn, x

    def result(self, handle: Any, timeout: float) -> Any:
        fn, x = handle
        return self.parallel([self.joblib.delayed(fn)(x)])[0]

    def computing(self) -> list[int]:
        from work import whoami

        return sorted(set(self.parallel([self.joblib.delayed(whoami)(0.05) for _ in range(8)])))

    def many(self, n: int, batch: int | str) -> Sequence[int]:
        call = self.joblib.delayed(noop)
        self.parallel.batch_size = batch
        return list(self.parallel(call(i) for i in range(n)))

    def one_by_one(self, n: int) -> Sequence[int]:
        return self.many(n, 1)

    def batched(self, n: int) -> Sequence[int]:
        return self.many(n, "auto")

    def chunked(self, n: int) -> Sequence[int]:
        return self.many(n, 100)

    def run(self, fn: Callable[[int], int], items: Sequence[int], end: float) -> list[Any]:
        """One whole call: it gives all or nothing."""
        import time

        found: list[Any] = [Missing()] * len(items)

        def call() -> None:
            try:
                found[:] = self.parallel([self.joblib.delayed(fn)(item) for item in items])
            except Exception as error:
                found[:] = [error] * len(items)

        thread = Thread(target=call, daemon=True)
        thread.start()
        thread.join(max(0.01, end - time.monotonic()))
        return list(found)
