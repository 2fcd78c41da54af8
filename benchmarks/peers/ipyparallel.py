"""IPython Parallel: a load-balanced view of two engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from peers.base import Peer
from work import noop


class IPyParallel(Peer):
    title = "ipyparallel"
    packages = ("ipyparallel",)

    def start(self) -> None:
        import ipyparallel

        self.cluster = ipyparallel.Cluster(n=2, profile_dir=str(self.folder / "profile"))
        self.view = self.cluster.start_and_connect_sync().load_balanced_view()

    def submit(self, fn: Callable[[Any], Any], x: Any) -> Any:
        return self.view.apply_async(fn, x)

    def result(self, handle: Any, timeout: float) -> Any:
        return handle.get(timeout)

    def batched(self, n: int) -> Sequence[int]:
        return self.view.map_sync(noop, range(n))

    def chunked(self, n: int) -> Sequence[int]:
        return self.view.map_sync(noop, range(n), chunksize=100)
