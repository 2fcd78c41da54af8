"""Calls for tests of engines, importable by workers."""

from __future__ import annotations

import hashlib
import os
import time


def refuse_to_start() -> None:
    raise RuntimeError("no model here")


def remember(name: str, value: str) -> None:
    """For an initializer: leaves it in the worker's environment."""
    os.environ[name] = value


def recall(name: str) -> str | None:
    return os.environ.get(name)


def deaf(path: str, seconds: float) -> None:
    """Does not listen to anything for so long."""
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)


def compute_in_c(rounds: int) -> None:
    """Where no signal interrupts it."""
    hashlib.pbkdf2_hmac("sha256", b"", b"", rounds)


def lasting(path: str, i: int, seconds: float) -> int:
    """Writes down who ran it, and lasts."""
    with open(path, "a") as file:
        file.write(f"{i}\n")
    time.sleep(seconds)
    return i


def pushed(name: str) -> object:
    """What the library's own client left in the engine's namespace."""
    import __main__

    return getattr(__main__, name)
