"""Lost updates, shown on purpose: several processes count in one place, and the count comes out wrong each time.

    process 1:   read 0 ........ write 1
    process 2:          read 0 ........ write 1        two updates, one lost

Each update is a read and a write, and a process may yield in between, so that others come in. A schedule made from a
seed says who goes on when; so the same seed loses the same updates, on any machine. Left to chance, a race hides for
days; here it happens on every run.
"""

from __future__ import annotations

import multiprocessing
import random
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from oche.errors import ConfigError, Crashed
from oche.sharing.arrays import SharedArray

#: Seconds that a process may take for a step; a start counts as one.
PATIENCE = 60.0


@dataclass(frozen=True, kw_only=True)
class Race:
    """What came of it: the same for the same processes, increments and seed."""

    expected: int  #: processes * increments
    got: int  #: what the shared integer says in the end
    seed: int

    @property
    def lost(self) -> int:
        """Updates that left no trace: at least processes - 1."""
        return self.expected - self.got

    def __str__(self) -> str:
        return f"expected {self.expected:,}, got {self.got:,}: {self.lost:,} updates lost (seed {self.seed})"


def lost_updates(processes: int = 4, increments: int = 1000, *, seed: int = 0) -> Race:
    """Lets `processes` processes add 1 to a shared integer `increments` times each, without a lock, by a schedule.

    Raises `ConfigError` for fewer than two processes or one increment, `Crashed` if a process dies.
    """
    steps = schedule(processes, increments, seed)
    context = multiprocessing.get_context("spawn")
    with SharedArray.create((), "i8") as shared, ExitStack() as stack:
        racers: list[tuple[BaseProcess, Connection]] = []
        for _ in range(processes):
            here, there = context.Pipe()
            stack.callback(here.close)
            process = context.Process(target=_race, args=(there, shared), daemon=True)
            process.start()
            there.close()
            stack.callback(_end, process, here)
            racers.append((process, here))
        for turn in steps:
            _go(*racers[turn])
        return Race(expected=processes * increments, got=int(shared.array), seed=seed)


def schedule(processes: int, increments: int, seed: int) -> list[int]:
    """Whose turn it is, step by step: a process's first step reads, its second writes, its third reads ...

    All read before the first one writes, so that processes - 1 updates are lost whatever the seed; the rest is
    shuffled. Raises `ConfigError` for fewer than two processes or one increment.
    """
    if processes < 2 or increments < 1:
        raise ConfigError(
            f"{processes} processes with {increments} increments cannot race; take 2 processes or more, 1 increment"
        )
    chance = random.Random(seed)
    reads = list(range(processes))
    chance.shuffle(reads)
    rest = [process for process in range(processes) for _ in range(2 * increments - 1)]
    chance.shuffle(rest)
    return reads + rest


def replay(steps: list[int]) -> int:
    """What the integer is after these steps, worked out in one process."""
    value, seen = 0, dict[int, int]()
    for process in steps:
        if process in seen:
            value = seen.pop(process) + 1
        else:
            seen[process] = value
    return value


def _go(process: BaseProcess, pipe: Connection) -> None:
    """Lets a process do its next step, and waits until it yields."""
    try:
        pipe.send_bytes(b"go")
        if pipe.poll(PATIENCE):
            pipe.recv_bytes()
            return
    except (OSError, EOFError) as error:
        raise Crashed(f"process {process.pid} of the race died in the middle of it; run it again") from error
    raise Crashed(f"process {process.pid} of the race did not answer within {PATIENCE:g} s; run it again")


def _race(pipe: Connection, shared: SharedArray) -> None:
    """A process of the race: between its read and its write it yields."""
    value = shared.array
    try:
        while True:
            pipe.recv_bytes()
            seen = int(value)
            pipe.send_bytes(b"read")
            pipe.recv_bytes()
            value[...] = seen + 1
            pipe.send_bytes(b"written")
    except (OSError, EOFError):  # the race is over
        pass


def _end(process: BaseProcess, pipe: Connection) -> None:
    pipe.close()
    process.join(5.0)
    if process.is_alive():
        process.kill()
        process.join()
