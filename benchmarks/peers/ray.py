"""Ray on one machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from peers.base import Peer
from work import TASKS, noop


class Ray(Peer):
    title = "Ray"
    packages = ("ray",)
    note = "by 100: ray.util.multiprocessing.Pool"
    pool: Any = None

    def start(self) -> None:
        import ray

        ray.init(
            num_cpus=2, include_dashboard=False, object_store_memory=200 * 2**20, log_to_driver=False,
            _temp_dir=str(self.folder),
        )  # fmt: skip
        self.ray = ray
        self.remote = {fn.__name__: ray.remote(fn) for fn in TASKS}

    def submit(self, fn: Callable[[Any], Any], x: Any) -> Any:
        return self.remote[fn.__name__].remote(x)

    def result(self, handle: Any, timeout: float) -> Any:
        return self.ray.get(handle, timeout=timeout)

    def one_by_one(self, n: int) -> Sequence[int]:
        return self.ray.get([self.submit(noop, i) for i in range(n)])

    def chunked(self, n: int) -> Sequence[int]:
        if self.pool is None:
            from ray.util.multiprocessing import Pool

            # Its two actors live beside the two workers: counted as processors, they would leave none to the rest.
            self.pool = Pool(2, ray_remote_args={"num_cpus": 0})
        return self.pool.map(noop, range(n), chunksize=100)
