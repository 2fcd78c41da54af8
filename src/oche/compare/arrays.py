"""A large array in the hands of several processes: one block of memory, checked and overwritten by all of them.

What was published: each row of 10,000 x 80,000 numbers is checked to hold 42 and overwritten with the process's own
number; afterwards all processes hold equal shares, no 42 is left, and memory holds the array once. And the same array
filled with random numbers, by one process and by all.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from oche.algorithms.fill import fill_random
from oche.cluster.executor import Cluster
from oche.compare.crew import Crew
from oche.compare.memory import Memory, memory_of
from oche.engines.opening import connect
from oche.errors import ConfigError, OcheError
from oche.sharing.arrays import SharedArray
from oche.stores.memfd import free_memory

SHAPE = (10_000, 80_000)
#: What each item is at first.
ANSWER = 42
#: Share of the free memory that an array of a size nobody asked for may take.
SPARE = 0.6
#: Times that each thing is done; the best counts. The first time memory is new, and slow for whoever comes first.
ROUNDS = 2
SEED = 2024
#: What is more than this part of the array may be a copy of it.
COPY = 0.05


@dataclass(frozen=True, kw_only=True)
class Share:
    """What a process did, and what memory it has, in bytes."""

    pid: int
    rows: int  #: that hold its number in the end
    sight: int  #: of the array, mapped and present (RSS)
    pss: int
    uss: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came of it."""

    shape: tuple[int, int]
    wanted: tuple[int, int]  #: the shape, had memory sufficed
    nbytes: int
    shares: Sequence[Share]
    left: int  #: rows that were not overwritten as a whole
    blocks: int  #: blocks of shared memory that the processes have in sight
    pss: int  #: of all processes together, in bytes: this one and those that worked
    before: int  #: the same before there was an array
    seconds: dict[str, tuple[float, float]]  #: what was done -> one process, all processes
    numpy_seconds: float  #: numpy alone, drawing the same numbers

    @property
    def copied(self) -> int:
        """Bytes that the processes have beyond one array and what they had before."""
        return self.pss - self.before - self.nbytes


def compare_arrays(
    shape: tuple[int, int] | None = None,
    *,
    processes: int = 4,
    on_step: Callable[[str], None] | None = None,
) -> Comparison:
    """The published run, float64. Without a shape it is `SHAPE`, or fewer rows where memory does not suffice.

    Raises `ConfigError` for what cannot be compared, `StoreFull` if the shape that was asked for does not fit into
    memory, `Crashed` if a process dies, `Unsupported` without Linux.
    """
    wanted = SHAPE if shape is None else shape
    if len(wanted) != 2 or min(wanted) < 1 or processes < 1 or wanted[0] < processes:
        raise ConfigError(f"{processes} processes and the shape {wanted}: take 1 or more, and a row or more for each")
    rows, columns = fitting(wanted, processes) if shape is None else wanted
    step = on_step if on_step is not None else _ignore
    with SharedArray.create((rows, columns), np.float64) as shared, Crew(processes, shared) as crew:
        fill_random(np.empty(1), SEED)  # so that what draws is in memory before memory is looked at
        before = sum(seen.pss for seen in _memory(crew))
        alone, draw = _draw(shared, processes, step)
        deal = [(worker, processes) for worker in range(processes)]
        one = many = math.inf
        for _ in range(ROUNDS):
            step(f"writing {ANSWER}, and overwriting it")
            crew.each(write_answer, deal)
            one = min(one, _seconds(lambda: overwrite(shared, 0, 1)))
            crew.each(write_answer, deal)
            many = min(many, _seconds(lambda: crew.each(overwrite, deal)))
        step("looking at the memory")
        owners, left = _owners(shared)
        seen = _memory(crew)
        return Comparison(
            shape=(rows, columns),
            wanted=wanted,
            nbytes=shared.array.nbytes,
            shares=[_share(memory, owners) for memory in seen[1:]],
            left=left,
            blocks=len(_large(seen, COPY * shared.array.nbytes)),
            pss=sum(memory.pss for memory in seen),
            before=before,
            seconds={"overwrite": (one, many), "draw": draw},
            numpy_seconds=alone,
        )


def fitting(shape: tuple[int, int], processes: int) -> tuple[int, int]:
    """The shape, or one of half the rows, and so on, that leaves memory for others."""
    free = free_memory()
    rows, columns = shape
    while free is not None and rows * columns * 8 > SPARE * free and rows // 2 >= processes:
        rows //= 2
    return rows, columns


def write_answer(shared: SharedArray, worker: int, workers: int) -> None:
    """Puts 42 into the rows that are dealt to this worker: each `workers`-th one."""
    shared.array[worker::workers] = ANSWER


def overwrite(shared: SharedArray, worker: int, workers: int) -> None:
    """Checks the rows that are dealt to this worker, and puts the process's number there."""
    pid = os.getpid()
    for row in shared.array[worker::workers]:
        if not (row == ANSWER).all():
            raise OcheError(f"a row of process {pid} does not hold {ANSWER}: somebody else was there")
        row[:] = pid


def _draw(shared: SharedArray, processes: int, step: Callable[[str], None]) -> tuple[float, tuple[float, float]]:
    """Seconds for the same random numbers: by numpy, by one process of ours, by all; the best of the rounds."""
    ways: dict[str, Callable[[Cluster], None]] = {
        "numpy": lambda _: _numpy(shared),
        "one process": lambda _: fill_random(shared, SEED),
        "all processes": lambda cluster: fill_random(shared, SEED, cluster=cluster),
    }
    best = dict.fromkeys(ways, math.inf)
    drawn = None
    with connect("local:", max_workers=processes) as cluster:
        for _ in range(ROUNDS):
            for name, way in ways.items():
                step(f"drawing random numbers: {name}")
                shared.array[:, 0] = -1  # so that numbers which stay where they were are seen
                best[name] = min(best[name], _seconds(partial(way, cluster)))
                trace = _trace(shared)
                if trace != (drawn or trace):
                    raise OcheError(f"{name} drew other numbers than numpy: a bug; tell us of this machine")
                drawn = trace
    return best["numpy"], (best["one process"], best["all processes"])


def _large(seen: Sequence[Memory], least: float) -> set[int]:
    """Shared blocks of which a process has this much in sight."""
    return {inode for memory in seen for inode, sight in memory.blocks.items() if sight >= least}


def _owners(shared: SharedArray) -> tuple[dict[int, int], int]:
    """Rows by the one number that each holds, and how many rows hold several, or still 42."""
    owners: dict[int, int] = {}
    left = 0
    for row in shared.array:
        if (row == row[0]).all() and row[0] != ANSWER:
            owners[int(row[0])] = owners.get(int(row[0]), 0) + 1
        else:
            left += 1
    return owners, left


def _memory(crew: Crew) -> list[Memory]:
    """Of this process, and of the crew's."""
    return [memory_of(pid) for pid in (os.getpid(), *crew.pids)]


def _share(memory: Memory, owners: dict[int, int]) -> Share:
    sight = sum(memory.blocks.values())
    return Share(pid=memory.pid, rows=owners.get(memory.pid, 0), sight=sight, pss=memory.pss, uss=memory.uss)


def _numpy(shared: SharedArray) -> None:
    np.random.Generator(np.random.Philox(SEED)).random(out=shared.array)


def _trace(shared: SharedArray) -> tuple[int, ...]:
    """A number for each row, which any other bit anywhere in it would change."""
    bits = shared.array.view(np.uint64)
    return tuple(int(np.bitwise_xor.reduce(row)) for row in bits)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _ignore(_text: str) -> None:
    """Progress that nobody asked for."""
