"""The functions that every peer runs. A module of its own, so that each kind of worker can import it by name."""

from __future__ import annotations

import os
import time


def noop(x: int) -> int:
    """Gives its argument back: what remains is the peer's own cost."""
    return x


def whoami(seconds: float) -> int:
    """Holds its worker for `seconds` and tells the id of the process that computes."""
    time.sleep(seconds)
    return os.getpid()


def nap(x: int) -> int:
    """0.25 s of sleep; the log tells afterwards how often each item was begun, also by workers now dead."""
    with open(os.environ["BENCH_LOG"], "a") as log:  # one short append: whole lines, whoever writes
        log.write(f"{x}\n")
    time.sleep(0.25)
    return x


TASKS = (noop, whoami, nap)
