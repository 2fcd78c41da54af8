"""IPython Parallel: a controller and its engines."""

from __future__ import annotations

import json
import sys

from oche.servers.tree import Tree


class IPythonCluster(Tree):
    """A controller and so many engines; an engine that dies is started again."""

    scheme, package, mark = "ipyparallel", "ipyparallel", "IPYTHONDIR"
    quiet = True  # what calls print goes elsewhere, and what these print helps nobody

    @property
    def url(self) -> str:
        """The file that tells clients how to reach it."""
        return f"{self.scheme}://{self.folder}/security/ipcontroller-client.json"

    def needed(self) -> list[str]:
        # An engine is there from its first heartbeat on; threads start sooner; nobody asks for old results.
        quick = ["--HeartMonitor.period=500", "--HeartMonitor.max_heartmonitor_misses=60", "--usethreads", "--nodb"]
        return [sys.executable, "-m", "ipyparallel.controller", *self._common(), "--ip=127.0.0.1", *quick]

    def worker(self) -> list[str]:
        file = f"--file={self.folder}/security/ipcontroller-engine.json"
        return [sys.executable, "-m", "ipyparallel.engine", *self._common(), file, "--IPEngine.wait_for_url_file=60"]

    def _common(self) -> list[str]:
        return [f"--profile-dir={self.folder}", "--log-level=50"]

    def answers(self) -> bool:
        return (self.folder / "security" / "ipcontroller-client.json").exists() and self.engines() >= self.slots

    def engines(self) -> int:
        """How many the controller knows."""
        try:
            return len(json.loads((self.folder / "log" / "engines.json").read_text())["engines"])
        except (FileNotFoundError, ValueError):  # there was none yet; it is being written
            return 0
