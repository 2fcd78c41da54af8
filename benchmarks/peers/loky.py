"""loky: the executor behind joblib."""

from __future__ import annotations

from peers.base import Executor


class Loky(Executor):
    title = "loky"
    packages = ("loky",)
    core = True

    def start(self) -> None:
        self.recover()

    def recover(self) -> None:
        from loky import get_reusable_executor

        self.executor = get_reusable_executor(max_workers=2, timeout=None)
