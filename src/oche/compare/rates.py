"""How many calls in a second: so many of them that their own cost, and not their start, is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence


class WrongAnswer(AssertionError):
    """Calls came back with what they should not have returned, or too few of them."""


def enough(call: Callable[[int], Sequence[int]], most: int, budget: float, first: int = 400) -> int:
    """So many calls, `most` at most, that their own cost fills `budget` seconds; the first run is the shortest.

    The cost of one more call is what two runs of unlike length differ by: an engine that waits a second in each run,
    long or short, gets runs long enough to hide it. `call(n)` makes n calls that return 0 .. n - 1.
    """
    n, seconds = first, once(call, first)
    each = seconds / n
    while n < most and seconds < 4 * budget and (n == first or each * n < budget / 2):
        more = min(most, 4 * n)
        longer = once(call, more)
        each = max(longer - seconds, 1e-9) / (more - n)
        n, seconds = more, longer
    return max(first // 4, min(most, int(budget / each) // 100 * 100))


def once(call: Callable[[int], Sequence[int]], n: int) -> float:
    """Seconds that n calls take; raises `WrongAnswer` unless all n answers are there and right."""
    begin = time.perf_counter()
    found = call(n)
    seconds = time.perf_counter() - begin
    if list(found) != list(range(n)):
        raise WrongAnswer(f"{n} calls gave wrong answers: {list(found)[:5]} ...")
    return seconds
