"""Tasks for tests, importable by workers."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence

import oche


def square(x: int) -> int:
    return x * x


def add(a: int, b: int = 0) -> int:
    return a + b


def span_sum(lo: int, hi: int) -> int:
    """The sum of lo .. hi - 1."""
    return (lo + hi - 1) * (hi - lo) // 2


def slow_square(x: int, seconds: float = 0.02) -> int:
    time.sleep(seconds)
    return x * x


def slow_span_sum(lo: int, hi: int) -> int:
    time.sleep(0.0005 * (hi - lo))
    return span_sum(lo, hi)


def fail(text: str) -> None:
    raise ValueError(text)


def fail_on(x: int, bad: int) -> int:
    if x == bad:
        raise ValueError(f"bad {x}")
    return x


def shout(text: str) -> str:
    print(text)
    print("warned", file=sys.stderr)
    return text


def find(lo: int, hi: int, *, wanted: int) -> int | None:
    return wanted if lo <= wanted < hi else None


def spin(seconds: float) -> str:
    """Runs until it is told to stop, or the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if oche.stopping():
            return "stopped"
        time.sleep(0.001)
    return "ran out"


def sleep_and_mark(path: str, seconds: float) -> None:
    """Leaves a file when it is done."""
    with open(path + ".begun", "w"):
        pass
    time.sleep(seconds)
    with open(path, "w"):
        pass


def pid(_: int = 0) -> int:
    return os.getpid()


def kill_self(_: int = 0) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def log_run(path: str, x: int, seconds: float = 0.0) -> int:
    """Writes down that it ran, so that runs can be counted."""
    with open(path, "a") as file:
        file.write(f"{x}\n")
    time.sleep(seconds)
    return x * x


def log_and_wait(path: str, x: int, gate: str) -> int:
    """As above, and lasts until the file `gate` is there, or half a minute."""
    end = time.monotonic() + 30
    with open(path, "a") as file:
        file.write(f"{x}\n")
    while not os.path.exists(gate) and time.monotonic() < end:
        time.sleep(0.01)
    return x * x


def keywords(**named: object) -> dict[str, object]:
    return named


def prefixed(text: str, x: int) -> str:
    return text[:10] + str(x)


def counted(text: str, lo: int, hi: int) -> int:
    return len(text) * (hi - lo)


def long_text(x: int, times: int = 5000) -> str:
    return str(x) * times


def item_plus(array: Sequence[float], i: int) -> float:
    return array[i] + i


def wait_for(path: str) -> None:
    """Until somebody makes a file."""
    while not os.path.exists(path):
        time.sleep(0.01)


def log_large(path: str, i: int, text: str) -> str:
    """Writes down that it ran, and returns something as large as it got."""
    with open(path, "a") as file:
        file.write(f"{i}\n")
    return text + "!"
