"""How work is cut: sizes from measured time, without I/O and without a clock.

Guided self-scheduling (Polychronopoulos & Kuck 1987) with a floor and a ceiling in seconds: a job should
run for `AIM` seconds, grow by at most `GROWTH` from the largest one measured (a first measurement of one
item is mostly overhead), leave several jobs for each slot, and shrink toward the end, so that the slots
finish together, but never below `FLOOR` seconds, where the overhead would show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Seconds that one job should run.
AIM = 0.25
#: Seconds below which cutting finer costs more than it evens out.
FLOOR = 0.02
#: How many times larger than any measured job the next one may be.
GROWTH = 16
#: Jobs that each slot should still get from what remains.
SHARE = 3
#: Jobs outstanding for each slot, at most, however short they are.
DEEPEST = 64
#: How much of what was measured before still counts when the next measurement comes.
MEMORY = 0.7


@dataclass(slots=True)
class Pace:
    """What is known of one kind of work: seconds per item, and how large the measured jobs were."""

    slots: int
    _seconds: float = 0.0
    _items: float = 0.0
    _largest: int = 0

    def record(self, items: int, seconds: float) -> None:
        """A job of so many items took so many seconds on its slot."""
        self._seconds = self._seconds * MEMORY + max(seconds, 0.0)
        self._items = self._items * MEMORY + items
        self._largest = max(self._largest, items)

    @property
    def per_item(self) -> float | None:
        """Seconds for one item; None before anything was measured."""
        return self._seconds / self._items if self._items else None

    def size(self, remaining: int | None) -> int:
        """Items for the next job; `remaining` is how many have not been cut yet, None if nobody knows."""
        per_item = self.per_item
        if per_item is None:
            return 1
        wanted = AIM / per_item if per_item > 0 else math.inf
        if remaining is not None:
            share = remaining / (SHARE * self.slots)
            floor = FLOOR / per_item if per_item > 0 else math.inf
            wanted = min(wanted, max(share, floor))
        size = max(1, math.floor(min(wanted, GROWTH * self._largest)))
        return size if remaining is None else max(1, min(size, remaining))

    def depth(self, size: int) -> int:
        """How many jobs of this size should be outstanding, so that no slot waits for the next one."""
        seconds = (self.per_item or FLOOR) * size
        per_slot = 1 + math.ceil(FLOOR / seconds) if seconds > 0 else DEEPEST
        return self.slots * min(per_slot, DEEPEST) + 2


def low_water(depth: int) -> int:
    """Jobs out below which more are put: some at a time where there are many, since one put of many costs as one."""
    return max(1, depth - depth // 4)
