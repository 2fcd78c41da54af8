"""kill -9 of those who compute, while something is computed."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import psutil

import oche
from farms import BOUND, Farm, until

T = TypeVar("T")


def through_kills(
    farm: Farm, chance: random.Random, work: Callable[[oche.Cluster], T], *,
    most: int = 4, pause: tuple[float, float] = (0.1, 0.3), **options: Any,
) -> T:  # fmt: skip
    """What `work(cluster)` gives while children are killed: one at once, and others while it lasts, up to `most`.

    `pause` is the least and the longest time between two kills, in seconds; `options` are those of `connect`.
    """
    with farm.connect(**options) as cluster, ThreadPoolExecutor(1) as pool:
        assert cluster.submit(abs, -1).result(BOUND) == 1
        crew = farm.children()
        result, kills = pool.submit(work, cluster), 0
        while kills == 0 or (kills < most and not result.done()):
            with suppress(psutil.NoSuchProcess):
                chance.choice(crew).kill()
                kills += 1
            with suppress(TimeoutError):
                result.result(chance.uniform(*pause))
            crew = until(farm.children, "there is somebody to kill")
        return result.result(BOUND)
