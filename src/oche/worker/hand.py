"""What a slot needs of whoever computes for it: a child process of its own (`crew.Child`), or somebody else's.

A hand has one job at a time: `give`, then `wait` until there is a `reply` or an `end`. After its end it is replaced.
"""

from __future__ import annotations

from typing import Protocol

from oche.worker.crew import End
from oche.worker.frames import Frame
from oche.worker.output import Capture
from oche.worker.page import Page


class Hand(Protocol):
    """Used by the one thread that made it."""

    page: Page
    stdout: Capture
    stderr: Capture

    @property
    def reply(self) -> Frame | None:
        """To the last thing given, once it is here."""

    @property
    def end(self) -> End | None:
        """Once it is dead, or given up."""

    @property
    def ready(self) -> bool:
        """For a job."""

    @property
    def jobs(self) -> int:
        """Given so far."""

    def give(self, body: bytes, attempt: int, *, trusted: bool) -> None:
        """Lets it run a job. Returns at once."""

    def wait(self, timeout: float) -> bool:
        """Listens up to `timeout` seconds; True once the reply or the end is there."""

    def output(self) -> list[tuple[str, str]]:
        """What the last job printed: (stream, text)."""

    def resident(self) -> int:
        """Bytes of memory it holds now; 0 where nobody knows."""

    def terminate(self) -> None:
        """Ends the running job by an exception, if that can be done. It must not get another job."""

    def kill(self) -> None:
        """Ends it now, or, where that cannot be done, gives it up; there is an `end` afterwards."""

    def close(self) -> None:
        """Ends an idle one."""
