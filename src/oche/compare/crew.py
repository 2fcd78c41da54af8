"""Processes side by side, each with the same thing in hand, which do together what they are told.

with Crew(4, shared) as crew:
    crew.each(mark, [(k,) for k in range(4)])      # mark(shared, k) in process k, all at once

As `multiprocessing.Pool`, but for two things: each process gets one share, and one that dies is missed at once.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Literal, Self, TypeVar

from oche.errors import ConfigError, Crashed, Unsupported
from oche.servers.lifeline import end_with_parent

T = TypeVar("T")

#: Seconds that a process has to end by itself.
PATIENCE = 5.0


class Crew:
    """Processes started anew ("spawn"), with nothing but what they are given, or forked, with all there is."""

    def __init__(self, processes: int, thing: Any, *, method: Literal["spawn", "fork"] = "spawn") -> None:
        """Starts them, and returns when all are there.

        Raises `ConfigError` for less than one, `Unsupported` where a system cannot fork, `Crashed` as `each` does.
        """
        if processes < 1:
            raise ConfigError(f"{processes} processes do nothing; take 1 or more")
        if method not in multiprocessing.get_all_start_methods():
            raise Unsupported(f"this system knows no {method!r}, as the published variants use it; take Linux")
        context: Any = multiprocessing.get_context(method)
        self._crew: list[tuple[BaseProcess, Connection]] = []
        with ExitStack() as undo:
            undo.callback(self.close)
            for _ in range(processes):
                here, there = context.Pipe()
                process = context.Process(target=_serve, args=(there, thing), daemon=True)
                with _no_interrupt():
                    process.start()
                there.close()
                self._crew.append((process, here))
            self.each(_nothing, [()] * processes)
            undo.pop_all()

    @property
    def pids(self) -> list[int]:
        """Of the processes, in their order."""
        return [process.pid or 0 for process, _ in self._crew]

    def each(self, work: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> list[T]:
        """work(thing, *arguments[k]) in process k, all at the same time; their results, in order.

        Raises what the first of them raised, and `Crashed` if a process died.
        """
        answers: list[Any] = []
        try:
            for (_, pipe), given in zip(self._crew, arguments, strict=True):
                pipe.send((work, given))
            answers = [pipe.recv() for _, pipe in self._crew]
        except (OSError, EOFError) as error:
            raise Crashed("a process of the comparison died in the middle of it; run it again") from error
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def close(self) -> None:
        """Ends them all. May be called twice."""
        for _, pipe in self._crew:
            with contextlib.suppress(OSError):  # one that is dead, or to be killed
                pipe.send(None)
            pipe.close()
        for process, _ in self._crew:
            process.join(PATIENCE)
            if process.is_alive():
                process.kill()
                process.join()
        self._crew.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:  # nobody wants what they are at
            for process, _pipe in self._crew:
                process.kill()
        self.close()


@contextlib.contextmanager
def _no_interrupt() -> Iterator[None]:
    """Ctrl-C is the parent's affair: who is started in here never hears of it."""
    resource_tracker.ensure_running()  # which, at its own start, would let it through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _nothing(_: Any) -> None:
    """What a process does to show that it is there."""


def _serve(pipe: Connection, thing: Any) -> None:
    """A process of the crew: it ends with its pipe, and with its parent."""
    end_with_parent()  # a forked sibling may have a copy of the pipe's other end
    with contextlib.suppress(OSError, EOFError):
        while True:
            job = pipe.recv()
            if job is None:
                return
            work, given = job
            try:
                answer = work(thing, *given)
            except Exception as error:
                answer = error
            pipe.send(answer)
