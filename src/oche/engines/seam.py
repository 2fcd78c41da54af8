"""The seam to engines that are executors of others: a URL becomes a PEP 3148 executor, and what that lacks is said.

A driver implements `Engine` for one library, imported only in its file. All the rest is made once, over any executor
(`over`): jobs are cut, tried again, stopped, counted once and written down as on every other engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class EngineTraits:
    """What an engine's workers can do. Layers above look here instead of at the engine's name."""

    here: bool  #: all of them are this user's, on this machine: they share its memory
    timeout: bool  #: a call over its time limit is interrupted; else a time limit is refused
    stop: bool  #: a call that runs is told to stop, and a kernel listens
    kill: bool  #: a call that does not listen is ended by force; else it runs on, and its answer is dropped
    survives: bool  #: calls whose process died are run again, up to `crashes` times; else the cluster is `Broken`
    output: bool  #: what calls print comes to the caller; else it goes where the workers' own output goes


#: Workers of oche's own: a crew of child processes, each of them with one call at a time.
CREW = EngineTraits(here=False, timeout=True, stop=True, kill=True, survives=True, output=True)


@dataclass(frozen=True, kw_only=True)
class Start:
    """What `connect` was given for workers that the engine starts."""

    max_workers: int | None = None  #: None: as many as suit the machine
    initializer: Callable[..., object] | None = None  #: called once at the start of each worker
    initargs: tuple[Any, ...] = ()
    store: str = ""  #: URL of the client's store, with its password


class Engine(ABC):
    """One engine, as a factory of executors."""

    traits: EngineTraits  #: of the class, for lists; an open engine may know better, and then has its own
    slots: int  #: calls that run at the same time

    @classmethod
    @abstractmethod
    def open(cls, url: str, start: Start) -> Self:
        """Raises `ConfigError` for a URL or a start that cannot be right, `Disconnected` if nobody answers there.

        What it has not started (`max_workers`, `initializer`) it refuses with `Unsupported`.
        """

    @abstractmethod
    def executor(self) -> Executor:
        """A new executor of this kind; asked for again where the last one broke, if the engine `survives`.

        Its `submit` must take what `remote.run` takes: texts, numbers and bytes. A worker that dies must end its call
        with a `BrokenExecutor`; if it takes other calls along, `submit` raises that, too, from then on.
        """

    def end(self, executor: Executor) -> None:
        """No call of ours is wanted any more: ends what `executor` made."""
        executor.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:  # noqa: B027 - most have nothing more to end
        """Ends what `open` began, after all executors; may be called twice."""
