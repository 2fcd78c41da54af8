"""Tasks for the tests of the worker: each does one thing well, or badly."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from oche.wire.task import task
from oche.worker.context import current, stop_byte, stopping


def double(x: object) -> object:
    return x + x  # type: ignore[operator]


def add(x: int, y: int = 0) -> int:
    return x + y


def whoami(_: int = 0) -> int:
    return os.getpid()


def fail(x: object) -> None:
    raise ValueError(f"cannot stand {x}")


def fail_at_length(size: int) -> None:
    raise ValueError("z" * size)


def fail_odd(x: int) -> int:
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x


def exit_odd(x: int) -> int:
    if x % 2:
        sys.exit(f"{x} is odd")
    return x


def interrupt(_: int) -> None:
    raise KeyboardInterrupt


def recurse(x: int) -> int:
    return recurse(x + 1)


def no_memory(_: int) -> None:
    raise MemoryError("no more")


def lock(_: int) -> object:
    return threading.Lock()


def lock_odd(x: int) -> object:
    return threading.Lock() if x % 2 else x


def mark(path: str, text: str = "x") -> str:
    """Leaves a line in a file: proof that it ran."""
    with open(path, "a") as file:
        file.write(f"{text}\n")
    return text


def fail_until(path: str, times: int) -> int:
    """Raises until it has run `times` times."""
    mark(path)
    count = len(Path(path).read_text().splitlines())
    if count < times:
        raise ValueError(f"only {count} of {times}")
    return count


def die(path: str, how: str) -> str:
    mark(path, how)
    if how == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "exit 3":
        os._exit(3)
    elif how == "SIGSEGV":
        ctypes.string_at(0)
    return how


def die_silently(path: str, x: int) -> int:
    """x = 13 kills its process; every call leaves its number."""
    mark(path, str(x))
    if x == 13:
        print("thirteen brings bad luck", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def die_with_grandchild(path: str) -> None:
    """Leaves a process behind that holds the pipes."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    mark(path, str(process.pid))
    os.kill(os.getpid(), signal.SIGKILL)


def hog(limit: int) -> int:
    blocks = []
    for _ in range(limit // 2**22):
        blocks.append(b"x" * 2**22)
        time.sleep(0.002)
    time.sleep(5)
    return len(blocks)


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def nap_in_small(path: str, seconds: float) -> None:
    """Python code that can be interrupted, with a finally."""
    until = time.monotonic() + seconds
    mark(path, "begun")
    try:
        while time.monotonic() < until:
            time.sleep(0.01)
    finally:
        mark(path, "finally")


def stubborn(path: str, seconds: float) -> None:
    """Lets no exception through."""
    mark(path, "begun")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            time.sleep(0.05)
        except BaseException:
            mark(path, "laughs")


def hold_the_gil(seconds: float) -> float:
    """Sleeps in C with the GIL held: no Python code of this process runs meanwhile."""
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    return seconds


def spin(count: int) -> int:
    """One long C call that looks at no signal."""
    return sum(range(count))


def hold_the_gil_marked(path: str, seconds: float) -> float:
    mark(path)
    return hold_the_gil(seconds)


def poll_the_byte(path: str, seconds: float) -> str:
    mark(path, "begun")
    byte = stop_byte()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if byte[0]:
            mark(path, "saw it" if stopping() else "saw the byte only")
            return "stopped"
        time.sleep(0.001)
    return "not stopped"


def shout(lines: int) -> int:
    print("first line")
    for _ in range(lines):
        print("x" * 99)
    print("last line")
    return lines


def whisper(text: str) -> str:
    print(text)
    print("err " + text, file=sys.stderr)
    logging.getLogger("chores").warning("log %s", text)
    return text


def where(_: int) -> tuple[object, ...]:
    here = current()
    assert here is not None
    return (here.run, here.job, here.index, here.attempt, here.worker, stopping(), stop_byte()[0])


def threads(_: int) -> list[str]:
    return [os.environ["OMP_NUM_THREADS"], os.environ["NUMBA_NUM_THREADS"]]


def big(size: int) -> str:
    return "x" * size


def remember(value: int) -> None:
    """An initializer."""
    os.environ["OCHE_TEST_REMEMBERED"] = str(value)


def remembered(_: int) -> str:
    return os.environ["OCHE_TEST_REMEMBERED"]


def refuse_to_start() -> None:
    raise RuntimeError("no licence")


@task
def lesson(x: int) -> int:
    return x * x


@task(retries=2)
def stumble(path: str, times: int) -> int:
    return fail_until(path, times)
