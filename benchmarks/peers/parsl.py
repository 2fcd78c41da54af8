"""Parsl with its HighThroughputExecutor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from peers.base import Peer
from work import TASKS


class Parsl(Peer):
    title = "Parsl, HTEX"
    packages = ("parsl",)

    def start(self) -> None:
        import parsl
        from parsl.executors import HighThroughputExecutor
        from parsl.providers import LocalProvider

        provider = LocalProvider(init_blocks=1, max_blocks=1)
        htex = HighThroughputExecutor(max_workers_per_node=2, provider=provider, address="127.0.0.1")
        self.kernel = parsl.load(parsl.Config(executors=[htex], run_dir=str(self.folder / "runinfo")))
        self.apps = {fn.__name__: parsl.python_app(fn) for fn in TASKS}

    def submit(self, fn: Callable[[Any], Any], x: Any) -> Any:
        return self.apps[fn.__name__](x)

    def result(self, handle: Any, timeout: float) -> Any:
        return handle.result(timeout)
