"""The engines in a table and in words: who should take which."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from oche.compare.engines import Comparison, Engine
from oche.compare.engines_probe import KILLING, NAP, NAPS, Figures, Kill
from oche.compare.engines_work import TASKS
from oche.compare.table import Goal, Table, seconds, size

#: Seconds that it may take, with all engines.
BOUND = 600.0
#: What is within this part of the best is as good: one run is no more exact.
EQUAL = 0.05
#: What two runs of the same work may differ by on a machine with nothing else to do.
QUIET = 0.1
#: Part of the time that an engine may take for itself before it counts.
COST = 0.1


def table(found: Comparison) -> Table:
    """One row an engine."""
    work = TASKS[found.task]
    heads = ["engine", "start", "calls/s one by one", "calls/s batched", "round trip"]
    heads += [found.task, "speed-up"] if work is not None else []
    heads += ["memory, a worker", "memory, all", "a worker killed"]
    what = "" if work is None else f"; {work.title.format(found.n)}"
    return Table(
        title=f"{found.workers} workers on {found.cores} cores{what}",
        heads=heads, rows=[_row(found, engine, len(heads)) for engine in found.engines], notes=tuple(_notes(found)),
    )  # fmt: skip


def title(engine: Engine) -> str:
    """Its name, and what it stands on."""
    return f"{engine.kind} ({engine.below})" if engine.below else engine.kind


def killed(engine: Engine) -> str:
    """What became of the calls when a worker was killed: "right in 1.31 s", "18 right, 2 Crashed in 1.4 s"."""
    kill = engine.figures.kill
    if kill is None:
        return "see below" if _fell(engine.figures) else "-"
    if kill.right == kill.calls:
        return f"right in {seconds(kill.seconds)}"
    parts = [f"{kill.right} right"] if kill.right else []
    parts += [f"{count} {name}" for name, count in kill.errors.items()]
    parts += [f"{kill.wrong} WRONG"] if kill.wrong else []
    parts += [f"{kill.missing} missing"] if kill.missing else []
    return f"{', '.join(parts)} {'after' if kill.missing else 'in'} {seconds(kill.seconds)}"


def rate(value: float) -> str:
    """Calls a second, in three digits: "12,300"."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"


def goals(found: Comparison) -> list[Goal]:
    """What every engine has to do."""
    measured = _measured(found)
    wrong = [title(engine) for engine in measured if engine.wrong]
    struck = [engine for engine in measured if engine.figures.kill is not None or _fell(engine.figures)]
    lost = [title(engine) for engine in struck if not _well(engine.figures.kill)]
    cut = [title(engine) for engine in measured if engine.figures.error]
    answers = "every answer is right" + (
        "" if found.answer is None else f", and the task's is {found.answer:,} as without an engine"
    )
    return [
        Goal(answers + _but(wrong), not wrong if measured else None),
        Goal(f"a killed worker costs nothing, or an error that oche names{_but(lost)}", not lost if struck else None),
        Goal(f"all was measured of what is here{_but(cut)}", not cut if measured else None),
        Goal(f"it takes less than 10 minutes: {seconds(found.seconds)}", found.seconds < BOUND),
    ]  # fmt: skip


def plain(found: Comparison) -> dict[str, object]:
    """For JSON: what was measured, and what follows from it."""
    return {
        "found": found,
        "speed_up": {engine.kind: found.speed_up(engine) for engine in found.engines},
        "wrong": [engine.kind for engine in found.engines if engine.wrong],
        "missing": {engine.kind: engine.figures.missing for engine in found.engines if engine.figures.missing},
        "remarks": list(remarks(found)),
        "goals": goals(found),
    }


def remarks(found: Comparison) -> Iterator[str]:
    """Who should take which."""
    for text, value, show in _CONTESTS:
        known = [(figure, engine) for engine in _measured(found) if (figure := value(found, engine)) is not None]
        if len(known) > 1:
            best = min(figure for figure, _ in known)
            good = [engine for figure, engine in known if figure <= best * (1 + EQUAL)]
            yield f"{text}: {_names(good)} ({show(best)})"
    worth = [
        f"{title(engine)} {seconds(found.workers / COST / engine.figures.one_by_one)}"
        for engine in _measured(found)
        if engine.figures.one_by_one
    ]
    if worth:
        yield f"calls that take longer than this lose less than a tenth to the engine, one by one: {', '.join(worth)}"
    started = [engine for engine in _measured(found) if engine.figures.start is not None]
    alone = [engine for engine in started if engine.figures.here]
    others = [engine for engine in started if not engine.figures.here]
    if alone and others:
        yield f"for this machine alone: {_names(alone)}; workers of other machines may join: {_names(others)}"
        yield (
            "who has workers or a server already takes that engine: above those times they all cost next to nothing; "
            "who has none takes local, and a broker once a second machine is to help"
        )


def _row(found: Comparison, engine: Engine, width: int) -> list[str]:
    figures = engine.figures
    if figures.missing:
        return [title(engine), *([""] * (width - 2)), "not here"]
    cells = [
        title(engine),
        _cell(figures.start, seconds),
        _cell(figures.one_by_one, rate),
        _cell(figures.batched, rate),
        _cell(figures.round_trip, seconds),
    ]
    if TASKS[found.task] is not None:
        cells += [_cell(figures.task, seconds), _cell(found.speed_up(engine), "{:.2f}".format)]
    end = "WRONG" if figures.wrong else killed(engine)
    return [*cells, _cell(figures.worker_memory, size), _cell(figures.memory, size), end]


def _notes(found: Comparison) -> Iterator[str]:
    yield "start: from the start of its servers and workers to the first answer; round trip: one call, all else idle"
    if found.serial is not None:
        yield f"speed-up: beside {seconds(found.serial)} for the same code without an engine, on one core"
        best = max((found.speed_up(engine) or 0.0 for engine in found.engines), default=0.0)
        if max(found.alone) > found.serial * (1 + QUIET) or best > found.workers * (1 + QUIET):
            yield (
                f"that took {' and then '.join(map(seconds, found.alone))}, and {found.workers} workers were up to "
                f"{best:.2f} times as fast: this machine had other things to do; run it again when it has not"
            )
    loaded = "" if TASKS[found.task] is None else f", with what {found.task} needs loaded"
    yield (
        f"memory: proportional (PSS), of a process that computes{loaded}; and of all processes together that were "
        "started, servers too, without the program itself"
    )
    yield (
        f"a worker killed: by SIGKILL, in the middle of {NAPS * found.workers} calls of {NAP:g} s, which take "
        f"{seconds(NAPS * NAP)} if nothing happens"
    )
    for engine in found.engines:
        yield from _sayings(found, engine.figures, title(engine))
    yield ""
    yield from remarks(found)


def _sayings(found: Comparison, figures: Figures, name: str) -> Iterator[str]:
    if figures.missing:
        yield f"{name} is not here: {figures.missing}"
    if figures.error:
        yield f"{name}, not all was measured: {figures.error}"
    if figures.wrong:
        yield f"{name} is WRONG: {figures.wrong}"
    if figures.unkilled:
        yield f"{name}: {figures.unkilled}"
    elif figures.processes is not None and figures.processes != found.workers:
        yield f"{name} computes in {figures.processes} processes, not {found.workers}"


def _measured(found: Comparison) -> list[Engine]:
    return [engine for engine in found.engines if not engine.figures.missing]


def _fell(figures: Figures) -> bool:
    """Whether it went down with the worker that was killed."""
    return figures.step == KILLING and not figures.done


def _well(kill: Kill | None) -> bool:
    return kill is not None and not (kill.missing or kill.wrong or kill.foreign)


def _cell(value: float | None, show: Callable[[float], str]) -> str:
    return "-" if value is None else show(value)


def _names(engines: Sequence[Engine]) -> str:
    return ", ".join(map(title, engines))


def _but(names: Sequence[str]) -> str:
    return f"; not {', '.join(names)}" if names else ""


def _inverse(value: float | None) -> float | None:
    """So that less is better."""
    return 1 / value if value else None


#: What engines are compared in: less is better.
_CONTESTS: Sequence[tuple[str, Callable[[Comparison, Engine], float | None], Callable[[float], str]]] = (
    ("quickest to start", lambda _, engine: engine.figures.start, seconds),
    ("most calls a second, one by one", lambda _, engine: _inverse(engine.figures.one_by_one), lambda x: rate(1 / x)),
    ("most calls a second, batched", lambda _, engine: _inverse(engine.figures.batched), lambda x: rate(1 / x)),
    ("shortest round trip", lambda _, engine: engine.figures.round_trip, seconds),
    ("best speed-up", lambda found, engine: _inverse(found.speed_up(engine)), lambda x: f"{1 / x:.2f}"),
    ("least memory in all", lambda _, engine: engine.figures.memory, size),
    ("soonest over a killed worker", lambda _, engine: _unharmed(engine.figures.kill), seconds),
)


def _unharmed(kill: Kill | None) -> float | None:
    return kill.seconds if kill is not None and kill.right == kill.calls else None
