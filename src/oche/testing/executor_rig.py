"""What the conformance suite of executors stands on: an engine to be tested, fixtures, and small helpers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from oche.engines.seam import CREW, EngineTraits
from oche.testing import executor_calls as calls

#: Seconds in which anything that is under way must have come to its end.
PATIENCE = 30.0


@dataclass(frozen=True, kw_only=True)
class Rig:
    """An engine, and what the suite must know of it."""

    open: Callable[[], Executor]  #: a new executor with `slots` workers
    slots: int = 2
    traits: EngineTraits = CREW
    script: str = ""  #: Python that leaves such an executor in `executor`, for a program of its own
    #: True for the standard library's own pools: they copy what processes are given and nothing else, pull all of a
    #: map's input at once, never stop what runs, and break with the first process that dies.
    standard: bool = False
    separate: bool = True  #: calls run in processes of their own


class Held:
    """Calls that keep every worker busy until they are let go."""

    def __init__(self, executor: Executor, rig: Rig, path: Path) -> None:
        self._path = path
        self.futures: list[Future[Any]] = [executor.submit(calls.hold, str(path)) for _ in range(rig.slots)]
        until(lambda: path.exists() and len(lines(path)) >= rig.slots, "every worker is busy")

    def pids(self) -> set[int]:
        """The processes that hold them."""
        return set(lines(self._path))

    def let_go(self) -> None:
        """They end."""
        Path(f"{self._path}.go").touch()


class Bench:
    """The fixtures of a test of executors."""

    @pytest.fixture
    def rig(self) -> Rig:
        raise NotImplementedError("the subclass gives a fixture `rig`")

    @pytest.fixture
    def executor(self, rig: Rig) -> Iterator[Executor]:
        with rig.open() as executor:
            yield executor

    @pytest.fixture
    def hold(self, executor: Executor, rig: Rig, tmp_path: Path) -> Iterator[Callable[[], Held]]:
        """Makes every worker busy, until the test ends at the latest."""
        held: list[Held] = []

        def hold() -> Held:
            held.append(Held(executor, rig, tmp_path / f"held{len(held)}"))
            return held[-1]

        yield hold
        for one in held:
            one.let_go()


def until(condition: Callable[[], Any], what: str) -> None:
    """Waits for a condition; fails the test if it does not come about within `PATIENCE`."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"waited {PATIENCE:g} s in vain until {what}")
        time.sleep(0.005)


def lines(path: Path) -> list[int]:
    """The numbers that calls wrote down."""
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return not Path(f"/proc/{pid}").exists()


def submitted(executor: Executor, functions: Iterable[Callable[[], Any]]) -> list[Future[Any]]:
    """The futures of these calls, as far as the executor takes them before it breaks."""
    futures = []
    with suppress(BrokenExecutor):
        for function in functions:
            futures.append(executor.submit(function))
    return futures


def settled(futures: list[Future[Any]]) -> list[BaseException | None]:
    """The error of each, or None, once all are done; none may stay out."""
    return [future.exception(PATIENCE) for future in futures]
