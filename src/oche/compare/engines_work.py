"""What the engines are given to do. A module of its own, so that each kind of worker can import it by name."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

#: Which darts; and where the range begins whose primes are counted.
SEED, BEGIN = 6, 10**12


@dataclass(frozen=True, kw_only=True)
class Task:
    """Something whose answer is one exact integer, whoever computes it, and whose cost grows with n."""

    title: str  #: with n in it
    sample: int  #: an n that takes about a tenth of a second on one core
    compute: Callable[[int, Executor | None], int]  #: on an executor, or here


def pi(n: int, cluster: Executor | None) -> int:
    """How many of n darts are inside."""
    from oche.algorithms.pi import pi as throw

    return throw(n, seed=SEED, cluster=cluster).inside


def primes(n: int, cluster: Executor | None) -> int:
    """How many of n numbers are prime."""
    from oche.algorithms.primes import count_primes

    return count_primes(BEGIN, BEGIN + n, cluster=cluster)


#: By name; "noop" computes nothing.
TASKS: Mapping[str, Task | None] = {
    "pi": Task(title="{:.0e} darts for pi", sample=10**8, compute=pi),
    "noop": None,
    "primes": Task(title="primes among {:.0e} numbers from 1e12 on", sample=3 * 10**8, compute=primes),
}


def noop(x: int) -> int:
    """Gives its argument back: what remains is the engine's own cost."""
    return x


def nap(x: int, seconds: float) -> int:
    """Holds its worker for so long without computing."""
    time.sleep(seconds)
    return x


def whoami(task: str, seconds: float) -> int:
    """Loads what the task needs, holds its worker, and tells the id of the process."""
    work = TASKS[task]
    if work is not None:
        work.compute(1000, None)
    time.sleep(seconds)
    return os.getpid()
