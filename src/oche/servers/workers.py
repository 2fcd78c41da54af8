"""`oche worker`, the command, as a server."""

from __future__ import annotations

import sys

from oche.servers.server import Server


class Workers(Server):
    """One worker of so many slots on the farm at `url`; it is ready when a call comes back."""

    def __init__(self, url: str, slots: int) -> None:
        super().__init__()
        self.farm, self.slots = url, slots

    @property
    def url(self) -> str:
        """Where it takes its jobs."""
        return self.farm

    def command(self) -> list[str]:
        return [sys.executable, "-m", "oche", "worker", self.farm, "--slots", str(self.slots)]

    def answers(self) -> bool:
        return True
