"""Dask's distributed scheduler with a LocalCluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from peers.base import Peer
from work import noop


class Dask(Peer):
    title = "Dask"
    packages = ("distributed",)
    note = "it says itself that a task should take 100 ms or more; client.map has no chunk size"

    def start(self) -> None:
        from distributed import Client, LocalCluster

        self.cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
        self.client = Client(self.cluster)

    def submit(self, fn: Callable[[Any], Any], x: Any) -> Any:
        return self.client.submit(fn, x, pure=False)

    def result(self, handle: Any, timeout: float) -> Any:
        return handle.result(timeout)

    def batched(self, n: int) -> Sequence[int]:
        return self.client.gather(self.client.map(noop, range(n), pure=False))
