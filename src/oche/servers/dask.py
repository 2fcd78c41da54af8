"""Dask: a scheduler and its workers."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.request import urlopen

from oche.servers.server import PATIENCE, free_pair
from oche.servers.tree import Tree

#: Settings of Dask's own. The threshold that it gives its workers makes glibc return the memory of each array at once,
#: which doubles the time that numpy takes; None takes it away. Nobody looks at the profiles. All of it is here, where a
#: connection is made at once or never: a scheduler that fetches a result from a worker which died at that moment goes
#: on trying, and whoever waits for the result waits with it.
_SETTINGS = {
    "distributed": {
        "comm": {"timeouts": {"connect": "5s"}},
        "nanny": {"pre-spawn-environ": {"MALLOC_TRIM_THRESHOLD_": None}},
        "worker": {"profile": {"enabled": False}},
    },
    "logging": {"distributed": "warning"},
}


class DaskCluster(Tree):
    """A scheduler and so many workers of one thread each; a nanny starts another where one dies.

    The death of a worker ends its call at once, which is then oche's to try again. A worker may be silent for as long
    as it likes, since a call in compiled code may be.
    """

    scheme, package, mark = "dask", "distributed", "DASK_CONFIG"

    def __init__(self, folder: Path, slots: int, *, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, slots, environment=environment)
        self.port = free_pair()  # its HTTP API has the next one

    def place(self) -> Path:
        return self.folder / "settings.json"

    def needed(self) -> list[str]:
        return [sys.executable, "-m", "distributed.cli.dask_spec", "--spec-file", str(self.folder / "spec.json")]

    def environment(self) -> dict[str, str]:
        environment = super().environment()
        # It cleans up after those that we kill, and says so.
        quiet = (environment.get("PYTHONWARNINGS"), "ignore:resource_tracker")
        return {**environment, "PYTHONWARNINGS": ",".join(filter(None, quiet))}

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.place().write_text(json.dumps({**_SETTINGS, "temporary-directory": str(self.folder)}))
        (self.folder / "spec.json").write_text(json.dumps(self._spec()))
        super().start()

    def _spec(self) -> dict[str, object]:
        here = {"host": "127.0.0.1", "dashboard": False}
        scheduler = {**here, "port": self.port, "dashboard_address": f"127.0.0.1:{self.port + 1}"}
        scheduler |= {"allowed_failures": 0, "worker_ttl": None}
        worker = {**here, "scheduler_ip": f"tcp://127.0.0.1:{self.port}", "nthreads": 1, "memory_limit": None}
        spec: dict[str, object] = {"scheduler": {"cls": "distributed.Scheduler", "opts": scheduler}}
        for number in range(self.slots):
            spec[f"worker{number}"] = {"cls": "distributed.Nanny", "opts": {**worker, "name": number}}
        return spec

    def answers(self) -> bool:
        with urlopen(f"http://127.0.0.1:{self.port + 1}/json/counts.json", timeout=PATIENCE) as reply:
            return bool(json.load(reply)["workers"] >= self.slots)
