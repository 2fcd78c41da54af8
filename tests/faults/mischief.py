"""Tasks that misbehave, importable by workers."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

import oche


@oche.task(crashes=50)
def steady(x: int, seconds: float = 0.015) -> int:
    """A good call that bad luck may hit many times."""
    time.sleep(seconds)
    return x * x


@oche.task(crashes=50)
def named_square(x: int, seconds: float = 0.01) -> tuple[int, str]:
    """The square, and the worker that computed it."""
    time.sleep(seconds)
    here = oche.current()
    assert here is not None
    return x * x, here.worker


def write(path: str, text: object) -> None:
    """One line more, whole: so short a write in append mode is never torn."""
    with open(path, "a") as file:
        file.write(f"{text}\n")


def begin_and_end(path: str, x: int, seconds: float) -> int:
    """Writes down that it began and that it ended, and by whom; works in small steps between."""
    here = oche.current()
    assert here is not None
    write(path, f"begin {here.worker}")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)
    write(path, f"end {here.worker}")
    return x * x


def hold_the_gil(path: str, x: int, seconds: int) -> int:
    """Sleeps in C without letting go of the interpreter."""
    write(path, x)
    ctypes.PyDLL(None).sleep(seconds)
    return x * x


def poison(path: str, x: int, how: str) -> tuple[int, str]:
    """The square, and the job it travelled in; unless `how` names a way to die. Each attempt is written down."""
    write(path, x)
    time.sleep(0.003)  # long enough that calls wait for each other
    if how:
        die(how)
    here = oche.current()
    assert here is not None
    return x * x, here.job


def poison_on(x: int, *, path: str, bad: int) -> int:
    """The square, but for one item, on which it kills its process."""
    write(path, x)
    if x == bad:
        die("SIGKILL")
    return x * x


def die(how: str) -> None:
    """Ends this process in one of these ways."""
    if how == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "SIGSEGV":
        ctypes.string_at(0)
    elif how == "exit 3":
        os._exit(3)
    elif how == "hog":
        hoard = []
        while True:
            hoard.append(b"x" * 2**23)
            time.sleep(0.005)


def die_at_first(x: int) -> int:
    """Kills its process at the first attempt."""
    here = oche.current()
    assert here is not None
    if here.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


class Particular(Exception):
    """An exception that cannot be made without its arguments, which are not those it gives to Exception."""

    def __init__(self, code: int, *, why: str) -> None:
        super().__init__(f"code {code}")
        self.code, self.why = code, why


class Rebuilt(Exception):
    """One with two required arguments."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(code, why)
        self.code, self.why = code, why


def raise_named(name: str) -> None:
    """Raises what is asked for."""
    if name == "ValueError":
        raise ValueError("no", 7)
    if name == "sys.exit":
        sys.exit(3)
    if name == "KeyboardInterrupt":
        raise KeyboardInterrupt
    if name == "SystemExit":
        raise SystemExit("out")
    if name == "Particular":
        raise Particular(7, why="because")
    raise Rebuilt(7, "because")


def recurse(x: int) -> int:
    return recurse(x + 1) + 1


def give_lock(_: int) -> object:
    return threading.Lock()


def give_generator(_: int) -> Iterator[int]:
    yield 1


def print_much(megabytes: int) -> int:
    """Prints that many million bytes, in lines."""
    text = "x" * 9_999 + "\n"
    for _ in range(100 * megabytes):
        sys.stdout.write(text)
    return megabytes


@oche.task
def lesson(x: int) -> int:
    """What anybody may run on a worker that takes unsigned jobs for this module."""
    return x * x


def touch(path: str) -> int:
    """No task: only who signs may run it."""
    with open(path, "w"):
        return 1
