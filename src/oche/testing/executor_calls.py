"""What the conformance suite of executors lets workers call; they import it from here."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oche.engines.opening import connect
from oche.worker.context import current, stopping

#: Seconds after which a call that waits for a test gives up.
PATIENCE = 30.0


def square(x: int) -> int:
    """x times x."""
    return x * x


def add(a: int, b: int = 0) -> int:
    """a plus b."""
    return a + b


def keywords(*args: Any, **named: Any) -> tuple[list[Any], dict[str, Any]]:
    """What it was given."""
    return list(args), named


def span_sum(lo: int, hi: int) -> int:
    """The sum of lo .. hi - 1."""
    return (lo + hi - 1) * (hi - lo) // 2


def fail(kind: type[BaseException], *args: Any) -> None:
    """Raises it."""
    raise kind(*args)


def fail_on(x: int, bad: int) -> int:
    """x, unless that is bad."""
    if x == bad:
        raise ValueError(f"bad {x}")
    return x


def deep(depth: int = 0) -> int:
    """Calls itself without end."""
    return deep(depth + 1) + 1


def process_id(_: int = 0) -> int:
    """Of whoever runs this."""
    return os.getpid()


def mark(path: str, value: int = 0) -> int:
    """Writes down, a line a call, that it ran."""
    with open(path, "a") as file:
        file.write(f"{value}\n")
    return value


def hold(path: str) -> str:
    """Marks that it runs, and lasts until a file `path` + ".go" is there, or it is told to stop."""
    mark(path, os.getpid())
    end = time.monotonic() + PATIENCE
    while not Path(f"{path}.go").exists():
        if stopping():
            return "stopped"
        if time.monotonic() > end:
            return "ran out"
        time.sleep(0.002)
    return "let go"


def die_once(path: str) -> int:
    """Kills its process the first time that it is called with this path; then says who runs it."""
    try:
        with open(path, "x"):
            pass
    except FileExistsError:
        return os.getpid()
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def die(_: int = 0) -> None:
    """Kills its process."""
    os.kill(os.getpid(), signal.SIGKILL)


def lock() -> Any:
    """Something that cannot travel."""
    return threading.Lock()


def nested(depth: int) -> Any:
    """A list in a list in a list ..."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def within(x: int) -> int:
    """An executor of its own, inside the call."""
    with connect("thread:", max_workers=1) as inner:
        return inner.submit(square, x).result(PATIENCE)


def job(_: int) -> str:
    """The job that this call travelled in."""
    context = current()
    return "" if context is None else context.job


def nothing(lo: int, hi: int) -> None:
    """No answer."""


def spin(seconds: float) -> None:
    """Lasts so long, unless it is told to stop."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stopping():
        time.sleep(0.002)


def answer_or_spin(lo: int, hi: int) -> int | None:
    """The piece at 0 answers, all others last for ever."""
    return 0 if lo == 0 else spin(PATIENCE)  # type: ignore[func-returns-value]


def item(array: Any, i: int) -> float:
    """One number of a shared array."""
    return float(array.array[i])


def third_time(path: str) -> int:
    """Raises until it is called with this path for the third time."""
    mark(path)
    if (tries := len(Path(path).read_text().split())) < 3:
        raise ValueError("not yet")
    return tries


def slow_mark(path: str, value: int) -> int:
    """As `mark`, and takes its time."""
    time.sleep(0.02)
    return mark(path, value)


class Spoiled:
    """Can be sent, but not received."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return fail, (LookupError, "spoiled")


class OwnError(Exception):
    """With arguments of its own, which its message does not show."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text}!")
        self.code, self.text = code, text

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return type(self), (self.code, self.text)


def fail_oddly() -> None:
    """Raises an exception with more to it than a message."""
    raise OwnError(7, "odd")
