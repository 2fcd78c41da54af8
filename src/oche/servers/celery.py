"""A Celery worker, over a broker that is there already."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from oche.servers.server import PATIENCE, Server


class CeleryWorker(Server):
    """`celery worker` with so many child processes, which writes its log to `folder`; of our own app, or of `app`.

    `broker` is that server's URL. `options` are the command's own. It has no port; its name has that number instead.
    """

    patience = 60.0

    def __init__(
        self,
        broker: str,
        slots: int,
        folder: Path,
        *,
        app: str = "oche.engines.celery_app",
        options: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.broker, self.slots, self.app, self.options = broker, slots, app, options
        self.log = folder / f"celery-{self.port}.log"

    @property
    def url(self) -> str:
        """Where it takes its calls."""
        return f"celery+{self.broker}" if self.app == "oche.engines.celery_app" else f"celery://{self.app}"

    def command(self) -> list[str]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.unlink(missing_ok=True)
        named = ["-n", f"oche-{self.port}@%h", "-c", str(self.slots), "--logfile", str(self.log), "--loglevel", "INFO"]
        # Those two ask other workers for a second, and keep asking: of no use to a few that were started together.
        quick = ["--without-mingle", "--without-gossip"]
        python = [sys.executable, "-W", "ignore:You're running the worker with superuser"]
        return [*python, "-m", "celery", "-q", "-A", self.app, "worker", *named, *quick, *self.options]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "OCHE_URL": f"celery+{self.broker}"}

    def answers(self) -> bool:
        return self.log.exists() and " ready." in self.log.read_text()

    def _end(self, how: signal.Signals) -> None:
        """With its children, at once: an orderly end takes seconds even if nothing runs."""
        if self._process is not None:
            process, self._process = self._process, None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)
