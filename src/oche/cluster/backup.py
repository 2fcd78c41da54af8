"""When a job is put again: a pure rule, fed by what the client sees of the broker.

A copy is harmless (the first outcome of each call wins), so the rule may be wrong now and then; it may not
be blind, or a job that a broker forgot would be waited for for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from oche.queues.seam import TubeStats

#: A job is late when it has been out so many times longer than its kind takes ...
LATE = 4.0
#: ... and at least so many seconds.
PATIENCE = 2.0
#: Copies of one job at most, the first one included, for being late; a lost one is always put again.
COPIES = 3


class Waited(Protocol):
    """What the rule needs to know of a job that is out."""

    put_at: float  #: monotonic time of the last put
    due_at: float  #: monotonic time before which its delay keeps it from running
    copies: int  #: how often it was put
    expected: float | None  #: seconds such a job takes; None if not known


@dataclass(slots=True)
class Backup:
    """Remembers one look, to compare it with the next."""

    #: Seconds that a job takes of which nobody knows how long it takes; None where the broker takes it from a holder
    #: that fell silent, so that such a job needs no copy.
    unknown: float | None = None
    _short_since: float | None = None

    def progress(self) -> None:
        """An outcome came: whatever looked lost may have been under way."""
        self._short_since = None

    def again(self, jobs: Sequence[Waited], stats: TubeStats, now: float) -> list[Waited]:
        """Those of the jobs that should be put again now."""
        lost = self._lost(jobs, stats, now)
        if lost:
            return lost
        idle = stats.waiting > 0 and stats.ready == 0
        return [job for job in jobs if self._late(job, now)] if idle else []

    def _lost(self, jobs: Sequence[Waited], stats: TubeStats, now: float) -> list[Waited]:
        present = stats.ready + stats.reserved + stats.delayed
        if present >= len(jobs):
            self._short_since = None
            return []
        if self._short_since is None:  # an outcome may be on its way: look once more before believing it
            self._short_since = now
            return []
        lost = [job for job in jobs if job.put_at < self._short_since]
        self._short_since = None
        return lost

    def _late(self, job: Waited, now: float) -> bool:
        expected = self.unknown if job.expected is None else job.expected
        if expected is None or job.copies >= COPIES:
            return False
        patience: float = max(PATIENCE, LATE * expected) * 2.0 ** (job.copies - 1)
        return now - max(job.put_at, job.due_at) > patience
