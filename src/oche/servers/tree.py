"""Clusters that are several processes: all carry a mark in their environment, and end together."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from oche.errors import Unsupported
from oche.servers.lifeline import end_marked
from oche.servers.server import PATIENCE, Server


class Tree(Server):
    """A cluster of `slots` workers; `folder` is for what they write, `environment` for theirs."""

    patience = 60.0
    package = ""  #: that it needs
    mark = ""  #: a variable of the library's own that names a place in the folder
    quiet = False  #: whether what it prints goes to a file in the folder, "complaints"

    def __init__(self, folder: Path, slots: int, *, environment: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.folder, self.slots = folder, slots
        self._environment = os.environ if environment is None else environment

    def place(self) -> Path:
        """What the mark names."""
        return self.folder

    def needed(self) -> list[str]:
        """The command without which there is no cluster."""
        raise NotImplementedError

    def worker(self) -> list[str]:
        """The command of one worker, where `needed` does not start them."""
        return []

    def command(self) -> list[str]:
        commands = {"needed": self.needed(), "workers": [self.worker()] * self.slots if self.worker() else []}
        about = {"folder": str(self.folder), "mark": self.mark, "quiet": self.quiet, "tied": self.ends_with_us}
        return [sys.executable, "-m", "oche.servers.mending", json.dumps(about | commands)]

    def environment(self) -> dict[str, str]:
        return {**self._environment, self.mark: str(self.place())}

    def start(self) -> None:
        if find_spec(self.package) is None:
            raise Unsupported(f"the package {self.package!r} is not installed; run pip install 'oche[{self.scheme}]'")
        self.folder.mkdir(parents=True, exist_ok=True)
        super().start()

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:  # an orderly end takes seconds, for the same
            process, self._process = self._process, None
            end_marked(self.mark, str(self.place()))
            process.wait(PATIENCE)
