"""What engines have in common whose executor is a client of a cluster: one that others started, or one of our own."""

from __future__ import annotations

import os
import sys
from abc import abstractmethod
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from oche.engines.process import workers
from oche.engines.seam import Engine, Start
from oche.errors import Broken, Disconnected, Unsupported
from oche.servers.kept import Kept
from oche.servers.tree import Tree
from oche.wire.pickles import pickled
from oche.worker.crew import child_environment
from oche.worker.slot import Unfit


class Attachment(Executor):
    """Such an executor. A subclass ends it for good by `shutdown`, and then drops what is out."""

    slots: int  #: calls that run at the same time, as far as its maker knew


class Attached(Engine):
    """`NAME:` starts a cluster that ends with the engine, `NAME://...` says where one runs."""

    tree: type[Tree]  #: how one is started; its scheme is the name
    command: str  #: by which others start workers

    def __init__(self, url: str, begin: tuple[int, str, bytes] | None = None) -> None:
        """`begin`: what `remote.begin` is given in each worker before its first call; None for workers of others."""
        self.url, self.begin = url, begin
        self._ours = ExitStack()  # what we have started
        self._first: Attachment | None = self.attach()  # now, to see who is there
        self.slots = self._first.slots

    @abstractmethod
    def attach(self) -> Attachment:
        """A new client. Raises `Disconnected` if nobody answers, or no worker is there, `Broken` if `begin` fails."""

    @classmethod
    def open(cls, url: str, start: Start) -> Self:
        alone = f"{cls.tree.scheme}:"
        if url.startswith(f"{alone}//"):
            if start.max_workers is not None or start.initializer is not None:
                raise Unsupported(
                    f"the workers of {url} are not connect's to start: start some by `{cls.command}`, or take {alone!r}"
                )
            return cls(url)
        slots = workers(url, alone, start)
        initializer = b"" if start.initializer is None else pickled((start.initializer, start.initargs))
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        with ExitStack() as ours:
            folder = ours.enter_context(TemporaryDirectory(prefix="oche-", ignore_cleanup_errors=True))
            tree = cls.tree(Path(folder), slots, environment={**child_environment(slots), "PYTHONPATH": path})
            ours.callback(Kept(tree).close)
            engine = cls(tree.url, (slots, start.store, initializer))
            engine.traits = replace(cls.traits, here=True, stop=True)
            engine._ours = ours.pop_all()
        return engine

    def executor(self) -> Executor:
        first, self._first = self._first, None
        try:
            return self.attach() if first is None else first
        except (Disconnected, Broken) as error:
            raise Unfit(str(error)) from error

    def end(self, executor: Executor) -> None:
        executor.shutdown()

    def close(self) -> None:
        if self._first is not None:
            self._first.shutdown()
        self._ours.close()
