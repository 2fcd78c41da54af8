"""What the other processes of these tests do, and ways to get there."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Seconds in which anything that is under way must have come to its end.
BOUND = 30.0
HERE = Path(__file__).parent


class Other:
    """Another process that has an object, and does to it what it is told: `other("add", 3)` is `thing.add(3)` there."""

    def __init__(self, thing: Any, method: str, *, stderr: int | None = None) -> None:
        """`method` is how the thing gets there: fork, spawn, or unrelated (a program of its own, and a pickle)."""
        self.process: Any
        if method == "unrelated":
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "sharers.py")],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env=environment(),
            )  # fmt: skip
            pickle.dump(thing, self.process.stdin)
            self.process.stdin.flush()
        else:
            context: Any = multiprocessing.get_context(method)
            self.pipe, there = context.Pipe()
            self.process = context.Process(target=_serve, args=(thing, there), daemon=True)
            self.process.start()
            there.close()
        self.unrelated = method == "unrelated"
        try:
            assert self("__class__.__name__") == type(thing).__name__
        except BaseException:
            self.kill()
            raise

    def __call__(self, name: str, *arguments: Any) -> Any:
        self.begin(name, *arguments)
        return self.end()

    def begin(self, name: str, *arguments: Any) -> None:
        """Tells it, and does not wait."""
        if self.unrelated:
            pickle.dump((name, arguments), self.process.stdin)
            self.process.stdin.flush()
        else:
            self.pipe.send((name, arguments))

    def end(self) -> Any:
        """Its answer; an error there is raised here."""
        if self.unrelated:
            answer = pickle.load(self.process.stdout)
        else:
            assert self.pipe.poll(BOUND), "the other process does not answer"
            answer = self.pipe.recv()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def kill(self) -> None:
        """kill -9, and its end."""
        self.process.kill()
        self.wait()

    def wait(self) -> None:
        if self.unrelated:
            self.process.wait(BOUND)
            with contextlib.suppress(BrokenPipeError):  # what it did not read
                self.process.stdin.close()
            self.process.stdout.close()
        else:
            self.process.join(BOUND)
            self.pipe.close()


@contextlib.contextmanager
def other(thing: Any, method: str) -> Iterator[Other]:
    """Another process, killed at the end."""
    there = Other(thing, method)
    try:
        yield there
    finally:
        there.kill()


def environment(**more: str) -> dict[str, str]:
    """For a program that imports from here."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)]), **more}


def until(condition: Any, what: str) -> Any:
    """Waits for the condition and returns its value; fails, saying what did not come."""
    end = time.monotonic() + BOUND
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {BOUND:g} s: {what}"
        time.sleep(0.01)
    return value


def leftovers() -> set[str]:
    """What is in /dev/shm, but for the semaphores and folders of whoever else runs."""
    return {name for name in os.listdir("/dev/shm") if not name.startswith(("sem.", "joblib_"))}


def run(thing: Any, name: str, arguments: tuple[Any, ...]) -> Any:
    """thing.name(*arguments), where `name` may have dots; a function of this module, called with the thing, if there
    is one of that name."""
    if name in globals():
        return globals()[name](thing, *arguments)
    value = thing
    for part in name.split("."):
        value = getattr(value, part)
    return value(*arguments) if callable(value) else value


def add_many(counter: Any, times: int) -> int:
    """Adds one many times; returns the last value."""
    value = 0
    for _ in range(times):
        value = counter.add()
    return value


def add_for_ever(counter: Any) -> None:
    """Until it is killed."""
    while True:
        counter.add()


def add_under(lock: Any, cell: Any, times: int) -> None:
    """Adds one to a plain integer many times, with the lock."""
    for _ in range(times):
        with lock:
            cell.array[...] = cell.array + 1


def take_and_tell(lock: Any, seconds: float) -> str:
    """What came of an acquire: `got it`, or the text of LockHeld."""
    try:
        lock.acquire(seconds)
    except TimeoutError as error:
        return str(error)
    return "got it"


def read_item(shared: Any, index: Any) -> Any:
    return shared.array[index].item()


def write_item(shared: Any, index: Any, value: Any) -> None:
    shared.array[index] = value


_kept: list[Any] = []


def make_array(_: Any, size: int) -> str:
    """Makes an array of ones and keeps it; returns its name."""
    from oche.sharing.arrays import SharedArray

    _kept.append(SharedArray.create(size))
    _kept[-1].array[:] = 1
    return str(_kept[-1].name)


def total(shared: Any) -> Any:
    """Reads all of it."""
    return shared.array.sum().item()


def own_and_proportional(_: Any) -> tuple[int, int]:
    """Bytes of this process that nobody shares (USS), and its memory with what is shared cut fairly (PSS)."""
    sizes: dict[str, int] = {}
    with open("/proc/self/smaps_rollup") as rollup:
        for line in list(rollup)[1:]:
            name, size = line.split()[:2]
            sizes[name] = int(size) * 1024
    return sizes["Private_Clean:"] + sizes["Private_Dirty:"], sizes["Pss:"]


def sleep(_: Any, seconds: float) -> None:
    time.sleep(seconds)


def stay_inside(gate: Any, mark: str) -> None:
    """Enters, leaves a mark, and stays until it is killed."""
    with gate.inside() as allowed:
        assert allowed
        Path(mark).touch()
        time.sleep(BOUND)


def may_enter(gate: Any) -> bool:
    with gate.inside() as allowed:
        return bool(allowed)


def _serve(thing: Any, pipe: Any) -> None:
    with contextlib.suppress(EOFError):
        while True:
            name, arguments = pipe.recv()
            try:
                answer = run(thing, name, arguments)
            except Exception as error:
                answer = error
            pipe.send(answer)


def _serve_unrelated() -> None:
    thing = pickle.load(sys.stdin.buffer)
    with contextlib.suppress(EOFError):
        while True:
            name, arguments = pickle.load(sys.stdin.buffer)
            try:
                answer = run(thing, name, arguments)
            except Exception as error:
                answer = error
            pickle.dump(answer, sys.stdout.buffer)
            sys.stdout.flush()


if __name__ == "__main__":
    _serve_unrelated()
