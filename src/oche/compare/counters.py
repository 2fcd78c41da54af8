"""A counter that several processes raise at once, kept in every published way and in ours: what is lost, and why.

Each process adds 1 so many times. Where that is a read and a write with nothing to guard it, a process writes over
what another added in between.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from oche.compare.crew import Crew
from oche.errors import ConfigError
from oche.sharing.arrays import SharedArray
from oche.sharing.counter import Counter
from oche.sharing.locks import FileLock, Lock
from oche.sharing.race import Race, lost_updates

PROCESSES, INCREMENTS = 4, 1000
#: Times that each is done: the best time counts, and the worst count.
RUNS = 5
#: Increments of the race, whose every step goes to and fro between processes.
RACE = 1000


class Way(ABC):
    """A way to keep the number. It goes to processes as they start."""

    name: ClassVar[str]
    why: ClassVar[str]

    @abstractmethod
    def reset(self) -> None:
        """Puts 0 there."""

    @abstractmethod
    def add(self, times: int) -> int:
        """Adds 1, so many times; returns how often the number that was read was none."""

    @abstractmethod
    def value(self) -> int:
        """What is there; 0 if that is no number."""

    def close(self) -> None:
        """Not to be used any more, here."""
        return  # most have nothing to end


class InFile(Way):
    """A decimal number in a file, which is emptied and written anew."""

    name = "file"
    why = "a process reads, another one writes, and the first writes over that; who reads in between meets no number"

    def __init__(self, folder: str) -> None:
        self._path = Path(folder) / self.name

    def reset(self) -> None:
        self._path.write_text("0\n")

    def add(self, times: int) -> int:
        return sum(self._add() for _ in range(times))

    def _add(self) -> bool:
        text = self._path.read_text()
        whole = text.endswith("\n")
        self._path.write_text(f"{int(text) + 1 if whole else 1}\n")
        return not whole

    def value(self) -> int:
        text = self._path.read_text()
        return int(text) if text.endswith("\n") else 0


class InLockedFile(InFile):
    """The same, each time with a lock on another file."""

    name = "file, FileLock"
    why = "one process at a time reads and writes; taking the lock is several calls of the kernel, waiting is a sleep"

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self._lock = FileLock(Path(folder) / "lock")

    def _add(self) -> bool:
        with self._lock:
            return super()._add()


class InValue(Way):
    """`multiprocessing.Value`, whose own lock guards the reading and the writing, and not what is in between."""

    name = "Value"
    why = "value += 1 takes the lock twice, to read and to write; others come in between"

    def __init__(self) -> None:
        self._value = multiprocessing.get_context("spawn").Value(ctypes.c_int64, 0)

    def reset(self) -> None:
        self._value.value = 0

    def add(self, times: int) -> int:
        value = self._value
        for _ in range(times):
            value.value += 1
        return 0

    def value(self) -> int:
        return int(self._value.value)


class InLockedValue(InValue):
    """The same, with its lock held."""

    name = "Value, its lock"
    why = "the lock is held from the read to the write; it is taken three times for each update, once inside itself"

    def add(self, times: int) -> int:
        value = self._value
        for _ in range(times):
            with value.get_lock():
                value.value += 1
        return 0


class InRawValue(Way):
    """`multiprocessing.RawValue`, which has no lock, and one beside it."""

    name = "RawValue, a lock"
    why = "one lock, taken once; a process that is killed while it holds it stops all others for ever"

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._value, self._lock = context.RawValue(ctypes.c_int64, 0), context.Lock()

    def reset(self) -> None:
        self._value.value = 0

    def add(self, times: int) -> int:
        value, lock = self._value, self._lock
        for _ in range(times):
            with lock:
                value.value += 1
        return 0

    def value(self) -> int:
        return int(self._value.value)


class InLockedArray(Way):
    """A number in a `SharedArray`, guarded by a `Lock` of oche's."""

    name = "oche: SharedArray, Lock"
    why = "the kernel takes the lock back from a killed holder; asking the kernel is what it costs"

    def __init__(self) -> None:
        self._lock = Lock()
        self._shared = SharedArray.create((), "i8")

    def reset(self) -> None:
        self._shared.array[...] = 0

    def add(self, times: int) -> int:
        array, lock = self._shared.array, self._lock
        for _ in range(times):
            with lock:
                array += 1
        return 0

    def value(self) -> int:
        return int(self._shared.array)

    def close(self) -> None:
        self._lock.close()
        self._shared.close()


class InCounter(Way):
    """oche's own, an atomic instruction."""

    name = "oche: Counter"
    why = "reading, adding and writing are one instruction: there is no in between, and nothing to hold"

    def __init__(self) -> None:
        self._counter = Counter()

    def reset(self) -> None:
        self._counter.add(-self._counter.value)

    def add(self, times: int) -> int:
        add = self._counter.add
        for _ in range(times):
            add()
        return 0

    def value(self) -> int:
        return self._counter.value

    def close(self) -> None:
        self._counter.close()


@dataclass(frozen=True, kw_only=True)
class Count:
    """What came of one way."""

    got: int  #: the least of the runs
    broken: int  #: numbers that were none when they were read, in all runs
    seconds: float  #: of the quickest run


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came of them all."""

    processes: int
    increments: int
    counts: Mapping[str, Count]
    whys: Mapping[str, str]
    race: Race
    race_seconds: float

    @property
    def expected(self) -> int:
        return self.processes * self.increments


def compare_counters(processes: int = PROCESSES, increments: int = INCREMENTS, *, seed: int = 0) -> Comparison:
    """Lets each way count `processes * increments`; and shows a race, on purpose, by the schedule of the seed.

    Raises `ConfigError` for fewer than two processes or one increment, `Crashed` if a process dies.
    """
    if processes < 2 or increments < 1:
        raise ConfigError(f"{processes} processes, {increments} increments: take 2 processes or more, 1 increment")
    with tempfile.TemporaryDirectory(prefix="oche-counters-") as folder, ExitStack() as stack:
        ways: Sequence[Way] = (
            InFile(folder), InLockedFile(folder), InValue(), InLockedValue(), InRawValue(), InLockedArray(),
            InCounter(),
        )  # fmt: skip
        for way in ways:
            stack.callback(way.close)
        crew = stack.enter_context(Crew(processes, ways))
        counts = {way.name: _count(crew, ways, place, processes, increments) for place, way in enumerate(ways)}
    began = time.perf_counter()
    race = lost_updates(processes, min(increments, RACE), seed=seed)
    return Comparison(
        processes=processes,
        increments=increments,
        counts=counts,
        whys={way.name: way.why for way in ways},
        race=race,
        race_seconds=time.perf_counter() - began,
    )


def _count(crew: Crew, ways: Sequence[Way], place: int, processes: int, increments: int) -> Count:
    way = ways[place]
    got, broken, seconds = [], 0, []
    for _ in range(RUNS):
        way.reset()
        began = time.perf_counter()
        broken += sum(crew.each(add, [(place, increments)] * processes))
        seconds.append(time.perf_counter() - began)
        got.append(way.value())
    return Count(got=min(got), broken=broken, seconds=min(seconds))


def add(ways: Sequence[Way], place: int, times: int) -> int:
    """In a process of the crew."""
    return ways[place].add(times)
