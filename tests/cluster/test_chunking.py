"""The cutting policy under a simulator: no processes, no clock, seeds printed."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

import pytest

from oche.cluster.chunking import AIM, FLOOR, Pace


def simulate(items: int, slots: int, cost: Callable[[int], float], overhead: float = 0.0005) -> tuple[float, list[int]]:
    """Runs all items on simulated slots; returns the makespan in seconds and the job sizes."""
    pace = Pace(slots)
    free = [(0.0, slot) for slot in range(slots)]
    running: list[tuple[float, int, int, float]] = []  # (end, slot, size, seconds)
    waiting: list[int] = []
    next_, now, sizes = 0, 0.0, []
    done = 0
    while done < items:
        while next_ < items:
            size = pace.size(items - next_)
            if len(waiting) + len(running) >= pace.depth(size):
                break
            waiting.append(size)
            sizes.append(size)
            next_ += size
        while waiting and free:
            start, slot = heapq.heappop(free)
            size = waiting.pop(0)
            begin = sum(sizes[: len(sizes) - len(waiting) - 1])
            seconds = sum(cost(i) for i in range(begin, begin + size)) if size < 1000 else cost(begin) * size
            heapq.heappush(running, (max(now, start) + overhead + seconds, slot, size, seconds))
        now, slot, size, seconds = heapq.heappop(running)
        heapq.heappush(free, (now, slot))
        pace.record(size, seconds)
        done += size
    return now, sizes


@pytest.mark.parametrize("slots", [1, 2, 7, 64])
@pytest.mark.parametrize("per_item", [1e-7, 1e-5, 1e-3, 0.3])
def test_even_work_ends_near_the_ideal(slots: int, per_item: float) -> None:
    items = int(max(slots * 40, min(2e8, slots * 4 / per_item)))
    makespan, sizes = simulate(items, slots, lambda i: per_item)
    ideal = items * per_item / slots
    assert sum(sizes) == items
    assert makespan <= ideal * 1.10 + 2 * AIM * 0.25 + 0.1


@pytest.mark.parametrize("seed", range(20))
def test_uneven_work_keeps_the_slots_busy(seed: int) -> None:
    rng = random.Random(seed)
    cost = [rng.paretovariate(1.5) * 0.002 for _ in range(20_000)]
    makespan, sizes = simulate(len(cost), 4, lambda i: cost[i])
    assert sum(sizes) == len(cost)
    assert makespan <= sum(cost) / 4 * 1.15 + max(cost) + AIM, f"seed {seed}"


def test_the_first_piece_is_one_item_and_growth_is_bounded() -> None:
    pace = Pace(2)
    assert pace.size(10**15) == 1
    pace.record(1, 1e-9)
    assert pace.size(10**15) == 16
    pace.record(16, 16e-9)
    assert pace.size(10**15) == 256


def test_jobs_take_about_the_time_aimed_at_and_shrink_toward_the_end() -> None:
    pace = Pace(2)
    pace.record(1000, 1.0)
    assert pace.size(None) == pytest.approx(AIM / 0.001, abs=1)
    assert pace.size(60) == pytest.approx(FLOOR / 0.001, abs=1)
    assert pace.size(600) == 100
    assert pace.size(3) == 3


def test_long_items_travel_alone() -> None:
    pace = Pace(2)
    pace.record(1, 30.0)
    assert pace.size(100) == 1
    assert pace.depth(1) == 6


def test_zero_seconds_do_not_divide() -> None:
    pace = Pace(2)
    pace.record(5, 0.0)
    assert pace.size(1_000) == 80
    assert pace.depth(80) > 2
