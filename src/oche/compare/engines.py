"""The same work on every engine that can be started here, one after the other, beside the same work without any.

Each engine is measured in a process of its own, which is ended, with all that came of it, when its time is over: so one
that hangs, or dies of the worker that is killed, costs the others nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from oche.compare.engines_probe import MARK, Figures, Order, read
from oche.compare.engines_work import TASKS, Task
from oche.compare.table import Progress
from oche.errors import ConfigError
from oche.servers.kinds import ALONE, FRAMEWORKS, KINDS
from oche.servers.lifeline import end_marked
from oche.worker.cores import usable_cores

#: Seconds that all of it may take, and one engine at most.
TOTAL, LIMIT = 570.0, 60.0
#: Seconds that an engine takes, as a guess.
GUESS = 15.0
#: Seconds of the task on one core, for each worker, and at most.
EACH, TASK = 2.0, 30.0
#: Seconds between two looks.
LOOK = 0.2


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What came of one."""

    kind: str
    below: str  #: the broker that it stands on; "" for none, or for itself
    figures: Figures
    seconds: float  #: that all of it took

    @property
    def wrong(self) -> bool:
        """Whether any of its answers was."""
        return bool(self.figures.wrong) or (self.figures.kill is not None and self.figures.kill.wrong > 0)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came of them all."""

    workers: int
    cores: int
    task: str
    n: int  #: of the task; 0 where there is none
    answer: int | None  #: the right one
    alone: Sequence[float]  #: seconds of the task here, on one core: before the engines, and after them
    engines: Sequence[Engine]
    seconds: float  #: that all of it took

    @property
    def serial(self) -> float | None:
        """The best of `alone`."""
        return min(self.alone, default=None)

    def speed_up(self, engine: Engine) -> float | None:
        """Times faster than without an engine; None where it was not measured."""
        taken = engine.figures.task
        return None if self.serial is None or taken is None else self.serial / taken


def compare_engines(
    task: str = "pi",
    *,
    workers: int | None = None,
    only: Sequence[str] | None = None,
    total: float = TOTAL,
    limit: float = LIMIT,
    scale: float = 1.0,
    on_progress: Callable[[Progress], None] | None = None,
) -> Comparison:
    """All engines, or `only` these, with as many workers as there are cores.

    An engine is cut off after `limit` seconds, or what is left of `total` for each; with a `scale` below 1 measures are
    shorter, to see that they work. Raises `ConfigError` for what cannot be compared.
    """
    kinds, work = pick(only), _task(task)
    count = usable_cores() if workers is None else workers
    if count < 1:
        raise ConfigError(f"{count} workers do nothing; take 1 or more")
    began = time.monotonic()
    n, answer, alone = 0, None, []
    if work is not None:
        _report(on_progress, 0.0, GUESS * len(kinds), f"{task} without an engine")
        n = fitting(work, min(EACH * count, TASK) * scale)
        answer, seconds = _alone(work, n)
        alone.append(seconds)
    spare = 1.5 * sum(alone)  # for the second time
    engines: list[Engine] = []
    for place, kind in enumerate(kinds):
        left = total - spare - (time.monotonic() - began)
        mine = max(1.0, min(limit, left / (len(kinds) - place)))
        guess = sum(engine.seconds for engine in engines) / place if place else GUESS

        def told(step: str, spent: float, kind: str = kind, place: int = place, guess: float = guess) -> None:
            done = (place + min(0.9, spent / guess)) / len(kinds)
            _report(on_progress, done, guess * len(kinds), f"{kind}: {step}")

        order = Order(
            kind=kind, workers=count, task=task, n=n, answer=answer, folder="", limit=mine, scale=scale
        )  # fmt: skip
        engines.append(_measure(order, told))
    if work is not None:
        _report(on_progress, 1.0, 0.0, f"{task} without an engine, again")
        alone.append(_alone(work, n)[1])
    return Comparison(
        workers=count,
        cores=usable_cores(),
        task=task,
        n=n,
        answer=answer,
        alone=alone,
        engines=engines,
        seconds=time.monotonic() - began,
    )


def pick(only: Sequence[str] | None) -> list[str]:
    """The engines of these names, in the order of the table; all for None. Raises `ConfigError` for others."""
    known = list(dict.fromkeys((*ALONE, *KINDS)))
    if only is None:
        return known
    unknown = [name for name in only if name not in known]
    if unknown or not only:
        what = f"no engine that can be started here is called {unknown[0]!r}" if unknown else "no engine is named"
        raise ConfigError(f"{what}; take some of {', '.join(known)}")
    return [kind for kind in known if kind in only]


def fitting(work: Task, seconds: float) -> int:
    """An n with one digit that takes about so long on one core."""
    work.compute(1000, None)  # loads what it needs
    quickest = min(_alone(work, work.sample)[1] for _ in range(3))
    return max(1000, int(float(f"{seconds / quickest * work.sample:.0e}")))


def command(order: Order) -> list[str]:
    """Of the process that measures."""
    return [sys.executable, "-m", "oche.compare.engines_probe", msgspec.json.encode(order).decode()]


def _measure(order: Order, told: Callable[[str, float], None]) -> Engine:
    """One engine; nothing that came of it outlives this call."""
    began = time.monotonic()
    kind, limit = order.kind, order.limit
    with tempfile.TemporaryDirectory(prefix="oche-compare-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command(replace(order, folder=name)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, MARK: name, "TMPDIR": name},
                start_new_session=True,
            )
            try:
                code = _wait(process, limit, lambda: told(read(folder).step, time.monotonic() - began))
            finally:
                process.kill()
                process.wait()
                end_marked(MARK, name)
        figures = read(folder)
        if not (figures.done or figures.missing or figures.wrong or figures.error):
            figures.error = _end(kind, limit, code, figures.step, (folder / "log").read_text(errors="replace"))
    below = FRAMEWORKS[kind][0] if kind in FRAMEWORKS else ""
    return Engine(kind=kind, below=below, figures=figures, seconds=time.monotonic() - began)


def _wait(process: subprocess.Popen[bytes], limit: float, look: Callable[[], None]) -> int | None:
    """Its exit status; None if it has none after so many seconds."""
    end = time.monotonic() + limit
    while True:
        look()
        try:
            return process.wait(max(0.0, min(LOOK, end - time.monotonic())))
        except subprocess.TimeoutExpired:
            if time.monotonic() >= end:
                return None


def _end(kind: str, limit: float, code: int | None, step: str, log: str) -> str:
    """Why it did not come to its end, and its last words."""
    words = "".join(f"; it said: {line[-300:]}" for line in log.strip().splitlines()[-1:])
    if code is not None:
        return f"its program ended with exit status {code} ({step}){words}"
    more = f"; --only {kind} gives it {LIMIT:g} s" if limit < LIMIT else ""
    return f"cut off after {limit:.0f} s ({step}){more}{words}"


def _alone(work: Task, n: int) -> tuple[int, float]:
    """The answer, and the seconds it took here."""
    began = time.perf_counter()
    answer = work.compute(n, None)
    return answer, time.perf_counter() - began


def _task(name: str) -> Task | None:
    if name not in TASKS:
        raise ConfigError(f"there is no task {name!r}; take one of {', '.join(TASKS)}")
    return TASKS[name]


def _report(on_progress: Callable[[Progress], None] | None, done: float, expected: float, row: str) -> None:
    if on_progress is not None:
        on_progress(Progress(done=done, expected=expected, row=row))
