"""The face of a peer: two workers, one call or many, and the processes behind it.

An adapter gives `start`, `submit` and `result`; `batched` where the peer has a map of its own, `chunked` where that
takes a chunk size. Everything else follows from these.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import psutil

from servers import Server
from work import noop, whoami


class Missing(Exception):
    """What a call has that never came back."""


class Unmeasured(Exception):
    """The peer has nothing of this kind."""


class Peer:
    """Two workers of one library, on the loopback."""

    title = ""
    packages: tuple[str, ...] = ()
    broker: type[Server] | None = None
    victims: tuple[str, ...] = ("child",)  #: what `kill -9` can hit: "child", the process that computes, or "node"
    in_farm = True  #: False: left out of farm.py unless named
    core = False  #: a goal names it: measured in every round
    note = ""
    #: measure -> calls of a run, where the goals name a number; else as many as fill the time
    counts: ClassVar[dict[str, int]] = {}

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = self.broker(folder) if self.broker else None
        self.nodes: list[subprocess.Popen[bytes]] = []

    # What an adapter gives.

    def start(self) -> None:
        """Imports the library and starts two workers."""
        raise NotImplementedError

    def submit(self, fn: Callable[[Any], Any], x: Any) -> Any:
        """One call by itself; returns the peer's own handle."""
        raise NotImplementedError

    def result(self, handle: Any, timeout: float) -> Any:
        """The call's value; raises whatever the peer raises, and its own timeout after `timeout` seconds."""
        raise NotImplementedError

    def batched(self, n: int) -> Sequence[int]:
        """n no-ops by the peer's own way to do many, with its defaults."""
        raise Unmeasured

    def chunked(self, n: int) -> Sequence[int]:
        """The same in chunks of 100."""
        raise Unmeasured

    def single(self, n: int) -> Sequence[int]:
        """n no-ops, each a job by itself, where `one_by_one` may put several into one."""
        raise Unmeasured

    def command(self, number: int) -> list[str]:
        """Command line of worker `number`, for peers whose workers are programs of their own."""
        raise NotImplementedError

    def recover(self) -> None:
        """What the peer's documentation asks of a program that goes on after a worker's death."""

    # What follows from it.

    def one_by_one(self, n: int) -> Sequence[int]:
        handles = [self.submit(noop, i) for i in range(n)]
        return [self.result(handle, 60.0) for handle in handles]

    def round_trip(self, n: int, limit: float) -> list[float]:
        """Seconds of up to n calls, each submitted when the one before is done; ends after `limit` seconds."""
        taken: list[float] = []
        end = time.perf_counter() + limit
        while len(taken) < n and time.perf_counter() < end:
            begin = time.perf_counter()
            if self.result(self.submit(noop, len(taken)), 60.0) != len(taken):
                raise AssertionError(f"{self.title} gave another call's value")
            taken.append(time.perf_counter() - begin)
        return taken

    def run(self, fn: Callable[[int], int], items: Sequence[int], end: float) -> list[Any]:
        """Each item's value, or its exception, or `Missing` where none came until the monotonic time `end`."""
        handles = [self.submit(fn, item) for item in items]
        found: list[Any] = []
        for handle in handles:
            try:
                found.append(self.result(handle, max(0.01, end - time.monotonic())))
            except Exception as error:
                found.append(Missing() if time.monotonic() >= end else error)
        return found

    def computing(self) -> list[int]:
        """Ids of the two processes that compute, asked of themselves."""
        found: set[int] = set()
        for _ in range(20):
            handles = [self.submit(whoami, 0.05) for _ in range(4)]
            found.update(self.result(handle, 60.0) for handle in handles)
            if len(found) >= 2:
                break
        return sorted(found)

    def start_node(self, number: int) -> subprocess.Popen[bytes]:
        with (self.folder / f"node{number}.log").open("ab") as log:
            return subprocess.Popen(self.command(number), stdout=log, stderr=log, cwd=self.folder)

    def start_nodes(self) -> None:
        """Two workers, each a program with one slot."""
        self.nodes = [self.start_node(number) for number in range(2)]

    def kill(self, victim: str, computing: Sequence[int]) -> None:
        """`kill -9` of one computing process, or of one whole node, which is then started again at once.

        A node's children are killed with it, and a new one started, as a service manager with Restart=always does.
        """
        if victim == "child":
            psutil.Process(computing[0]).kill()
            return
        node = psutil.Process(self.nodes[0].pid)
        children = node.children(recursive=True)
        for process in [node, *children]:
            process.kill()
        self.nodes[0].wait()
        self.nodes[0] = self.start_node(0)


class Executor(Peer):
    """A peer with the standard executor's face; `start` sets `executor`."""

    counts: ClassVar[dict[str, int]] = {"one_by_one": 10_000}
    executor: Any = None

    def submit(self, fn: Callable[[Any], Any], x: Any) -> Any:
        return self.executor.submit(fn, x)

    def result(self, handle: Any, timeout: float) -> Any:
        return handle.result(timeout)

    def batched(self, n: int) -> Sequence[int]:
        return list(self.executor.map(noop, range(n)))

    def chunked(self, n: int) -> Sequence[int]:
        return list(self.executor.map(noop, range(n), chunksize=100))


def module(name: str, *arguments: str) -> list[str]:
    """Command line that runs an installed module with this interpreter."""
    return [sys.executable, "-m", name, *arguments]
