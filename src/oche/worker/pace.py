"""How many jobs a slot takes at a time."""

from __future__ import annotations

#: Jobs taken at a time at most, and seconds that they may take together.
MOST, TOGETHER = 16, 0.005


class Pace:
    """How many jobs to take at a time: several while they are so short that fetching them takes longer."""

    def __init__(self, most: int = MOST, together: float = TOGETHER) -> None:
        self._most, self._together = most, together
        self.begun = 0  #: jobs begun of those that were taken together
        self._seconds = 1.0  # that a job took, lately

    @property
    def appetite(self) -> int:
        """Jobs to take now."""
        return max(1, min(self._most, int(self._together / self._seconds)))

    def record(self, seconds: float) -> None:
        """A job took so long."""
        self.begun += 1
        self._seconds += 0.3 * (max(seconds, 1e-6) - self._seconds)
