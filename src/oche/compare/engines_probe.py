"""Measures one engine, in a process of its own: python -m oche.compare.engines_probe ORDER.

What is known goes to a file after each measure, so that an engine that hangs, or takes this process along, keeps what
it had. Whoever started this ends what is left of it.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from oche.cluster.executor import Cluster
from oche.compare.engines_work import TASKS, nap, noop, whoami
from oche.compare.memory import memory_of
from oche.compare.rates import WrongAnswer, enough, once
from oche.engines.opening import ONE_MACHINE, connect, schemes
from oche.errors import ConfigError, OcheError, Unsupported
from oche.plugins import load_driver
from oche.servers.kinds import ALONE, up
from oche.servers.lifeline import end_with_parent, marked

#: Variable of the environment that all processes of a measurement carry.
MARK = "OCHE_COMPARED"
#: Seconds until an engine must have given its first answer.
PATIENCE = 30.0
#: Seconds for all workers to show themselves, and for an engine to end in good order.
GATHER, END = 5.0, 5.0
#: Calls and seconds of one run, at most.
MOST, SECONDS = 200_000, 0.8
TRIPS = 100
#: The calls during which one is killed: how many a worker, seconds of each, until the kill, until they are given up.
NAPS, NAP, KILL, LOST = 10, 0.1, 0.3, 20.0
#: The step in which it is done.
KILLING = "a killed worker"
#: What an engine says that computes in the program itself.
HERE = "it computes in the program itself: there is no worker to kill, and no memory but the program's"


@dataclass(kw_only=True)
class Kill:
    """What became of calls when a process that computed them was killed."""

    calls: int
    right: int
    wrong: int
    errors: dict[str, int]  #: by name
    foreign: list[str]  #: names of those that are not oche's
    missing: int  #: with no answer at all
    seconds: float


@dataclass(kw_only=True)
class Figures:
    """What is known of one engine so far; None is not known."""

    step: str = ""  #: what is done now
    done: bool = False  #: all of it
    missing: str = ""  #: what there is not, and how to get it
    error: str = ""  #: why not all was measured
    wrong: str = ""  #: an answer that is not right
    here: bool = False  #: whether no other machine can join in
    start: float | None = None  #: seconds from the start of its servers to the first answer
    processes: int | None = None  #: that compute
    one_by_one: float | None = None  #: calls a second, each submitted by itself
    batched: float | None = None  #: calls a second, by map
    round_trip: float | None = None  #: seconds of one call when nothing else is to be done
    task: float | None = None  #: seconds for the task
    worker_memory: int | None = None  #: bytes of a process that computes (PSS), the median
    memory: int | None = None  #: of all processes that the engine started
    kill: Kill | None = None
    unkilled: str = ""  #: why nobody was killed


@dataclass(kw_only=True)
class Order:
    """What is to be measured."""

    kind: str
    workers: int
    task: str
    n: int  #: of the task
    answer: int | None  #: the right one
    folder: str  #: for figures and for what servers write; the mark of all processes
    limit: float  #: seconds from now, after which we are killed
    scale: float  #: how long the measures last; 1 is for figures that are worth reading


def read(folder: Path) -> Figures:
    """What was told so far."""
    try:
        return msgspec.json.decode((folder / "figures").read_bytes(), type=Figures)
    except FileNotFoundError:
        return Figures(step="start")


class Probe:
    """The measures, in the order of the table."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.figures = Figures()
        self._folder = Path(order.folder)
        self._end = time.monotonic() + order.limit

    def run(self) -> None:
        """All of them. Never raises; what went wrong is in the figures."""
        with ExitStack() as stack:
            try:
                self._measure(self._open(stack))
                self.figures.done = True
            except WrongAnswer as error:
                self.figures.wrong = str(error)
            except Exception as error:
                if isinstance(error, ConfigError) and self.figures.start is None:
                    self.figures.missing = str(error)
                else:
                    said = str(error) or "nothing came in time"
                    self.figures.error = f"{type(error).__name__} ({self.figures.step}): {said}"
            self._save()
            faulthandler.dump_traceback_later(END, exit=True)

    def _open(self, stack: ExitStack) -> Cluster:
        order = self.order
        self._step("start")
        began = time.perf_counter()
        if order.kind in ALONE:
            cluster = connect(f"{order.kind}:", max_workers=order.workers)
        else:
            servers = self._folder / "servers"
            servers.mkdir()
            cluster = connect(stack.enter_context(up(order.kind, order.workers, servers)))
        stack.callback(cluster.shutdown, cancel_futures=True)
        if cluster.submit(noop, 7).result(PATIENCE) != 7:
            raise WrongAnswer("the first call gave a wrong answer")
        self.figures.start = time.perf_counter() - began
        self.figures.here = _here(urlsplit(cluster.url).scheme)
        return cluster

    def _measure(self, cluster: Cluster) -> None:
        figures, budget = self.figures, SECONDS * self.order.scale
        self._step("workers")
        figures.processes = len(self._gather(cluster))
        runs: dict[str, Callable[[int], list[int]]] = {
            "one_by_one": lambda n: [call.result() for call in [cluster.submit(noop, x) for x in range(n)]],
            "batched": lambda n: list(cluster.map(noop, range(n))),
        }
        for name, run in runs.items():
            self._step(f"calls {name}".replace("_", " "))
            n = enough(run, MOST, budget, first=100)
            setattr(figures, name, n / once(run, n))
        self._step("round trips")
        figures.round_trip = statistics.median(_round_trips(cluster, budget))
        self._compute(cluster)
        self._step("memory")
        computing = self._gather(cluster)
        self._weigh(computing)
        self._step(KILLING)
        if os.getpid() in computing:
            figures.unkilled = HERE
        else:
            figures.kill = self._kill(cluster, computing[0])

    def _gather(self, cluster: Cluster) -> list[int]:
        """The processes that compute; each of them has loaded what the task needs."""
        found: set[int] = set()
        end = time.monotonic() + GATHER
        while len(found) < self.order.workers and time.monotonic() < end and os.getpid() not in found:
            calls = [cluster.submit(whoami, self.order.task, 0.05) for _ in range(self.order.workers)]
            found |= {call.result(PATIENCE) for call in calls}
        return sorted(found)

    def _compute(self, cluster: Cluster) -> None:
        """The task, twice; the better time counts."""
        work = TASKS[self.order.task]
        if work is None:
            return
        for _ in range(2):
            self._step(self.order.task)
            began = time.perf_counter()
            answer = work.compute(self.order.n, cluster)
            seconds = time.perf_counter() - began
            if answer != self.order.answer:
                raise WrongAnswer(f"{self.order.task} gave {answer:,} instead of {self.order.answer:,}")
            self.figures.task = min(seconds, self.figures.task or seconds)

    def _weigh(self, computing: list[int]) -> None:
        if os.getpid() in computing:
            return
        try:
            self.figures.worker_memory = int(statistics.median(memory_of(pid).pss for pid in computing))
        except Unsupported:
            return
        sizes = []
        for pid in marked(MARK, self.order.folder).keys() - {os.getpid()}:
            try:
                sizes.append(memory_of(pid).pss)
            except Unsupported:  # it has ended
                continue
        self.figures.memory = sum(sizes)

    def _kill(self, cluster: Cluster, victim: int) -> Kill:
        began = time.perf_counter()
        calls = [cluster.submit(nap, x, NAP) for x in range(NAPS * self.order.workers)]
        wait(calls, KILL)
        os.kill(victim, signal.SIGKILL)
        done, left = wait(calls, max(1.0, min(LOST, self._end - time.monotonic() - 1)))
        seconds = time.perf_counter() - began
        errors = [error for call in done if (error := call.exception()) is not None]
        right = sum(call in done and call.exception() is None and call.result() == x for x, call in enumerate(calls))
        return Kill(
            calls=len(calls),
            right=right,
            wrong=len(done) - len(errors) - right,
            errors=Counter(type(error).__name__ for error in errors),
            foreign=sorted({type(error).__name__ for error in errors if not isinstance(error, OcheError)}),
            missing=len(left),
            seconds=seconds,
        )

    def _step(self, step: str) -> None:
        self.figures.step = step
        self._save()

    def _save(self) -> None:
        """At one stroke: somebody may be reading."""
        (self._folder / "saving").write_bytes(msgspec.json.encode(self.figures))
        (self._folder / "saving").rename(self._folder / "figures")


def _here(scheme: str) -> bool:
    if scheme in schemes():
        return bool(load_driver(f"{scheme}:", schemes(), "engine").traits.here)
    return scheme in ONE_MACHINE


def _round_trips(cluster: Cluster, budget: float) -> list[float]:
    seconds: list[float] = []
    while len(seconds) < 5 or (len(seconds) < TRIPS and sum(seconds) < budget):
        seconds.append(once(lambda _: [cluster.submit(noop, 0).result()], 1))
    return seconds


if __name__ == "__main__":
    end_with_parent()
    Probe(msgspec.json.decode(sys.argv[1], type=Order)).run()
