"""What the conformance suite of stores stands on: a place for values, and other processes that use it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import pytest

from oche.stores.seam import Store

#: Serves a store to the suite: each line is an expression in `store`; the answer is its value, or the error's name.
_PROGRAM = """
import sys
from oche.stores.opening import open_store
with open_store(sys.argv[1]) as store:
    for line in sys.stdin:
        try:
            print(repr(eval(line)), flush=True)
        except Exception as error:
            print(type(error).__name__, flush=True)
"""


@dataclass(frozen=True, kw_only=True)
class Rig:
    """A fresh place for values."""

    open: Callable[[], Store]  #: a new store there
    left: Callable[[], list[str]] = list  #: names of what is left there when all stores are closed
    lapse: Callable[[], object] = list  #: has the time pass after which values of dead owners go by themselves


class Process:
    """Another process with a store of the same URL."""

    def __init__(self, url: str) -> None:
        command = [sys.executable, "-c", _PROGRAM, url]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, expression: str) -> str:
        """The repr of what the expression comes to there, or the name of the error that it raises."""
        self.begin(expression)
        return self.end()

    def begin(self, expression: str) -> None:
        """Has it computed; `end` waits for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(expression + "\n")
        self._process.stdin.flush()

    def end(self) -> str:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        assert answer, "the other process has ended"
        return answer.rstrip("\n")

    def fork(self) -> int:
        """Has it fork a child that sleeps for a minute; its process id."""
        answer = self("__import__('os').fork() or __import__('time').sleep(60)")
        return int(answer)

    def kill(self) -> None:
        """kill -9, and waits for its end."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Lets it close its store and end."""
        with self._process:  # closes the pipe to it, which ends its loop
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Bench:
    """The fixtures of a test of stores."""

    @pytest.fixture
    def rig(self) -> Iterator[Rig]:
        raise NotImplementedError("the subclass gives a fixture `rig`")

    @pytest.fixture
    def store(self, rig: Rig) -> Iterator[Store]:
        with rig.open() as store:
            yield store

    @pytest.fixture
    def other(self, store: Store) -> Iterator[Process]:
        with Process(store.url) as other:
            yield other

    def need(self, store: Store, *traits: str) -> None:
        """Skips the test where the store lacks one of these traits."""
        for trait in traits:
            if not getattr(store.traits, trait):
                pytest.skip(f"this store has no {trait}")
