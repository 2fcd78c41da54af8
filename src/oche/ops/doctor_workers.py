"""Whether the workers of a farm are there, and are what this program is."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator

from oche.ops.asking import Answer
from oche.ops.finding import Finding, error, note, ok, warning
from oche.watch.snapshot import Snapshot
from oche.worker.about import about

#: Seconds by which two clocks may differ.
SKEW = 2.0


def presence(seen: Snapshot, url: str) -> Iterator[Finding]:
    """Who is there, and what waits for whom."""
    start = f"oche worker {url}"
    if not seen.workers and seen.jobs:
        waits = "1 job waits" if seen.jobs == 1 else f"{seen.jobs:,} jobs wait"
        yield warning("workers", f"none is here, and {waits}", start)
    elif not seen.workers:
        yield note("workers", "none is here", start)
    else:
        many = f"{len(seen.workers)} worker{'s' * (len(seen.workers) != 1)} with {seen.slots} slots"
        yield ok("workers", f"{many}, {seen.work.reserved:,} jobs running, {seen.work.ready:,} waiting")
    for node in seen.workers:
        if node.connected < node.slots:
            text = f"{node.name}: {node.connected} of {node.slots} slots are connected"
            yield warning("workers", text, f"see its log on {node.host}; it tries again by itself")


def judge(answers: Iterable[Answer], *, busy: bool, patience: float) -> Iterator[Finding]:
    """What the answers of the workers mean; `busy` if all slots had work while they were asked."""
    own = about()
    alike: list[str] = []
    for answer in answers:
        found = list(_differences(answer, own, busy, patience))
        yield from found
        if not found:
            alike.append(answer.worker)
    if alike:
        names = f"{len(alike)} worker{'s' * (len(alike) != 1)}"
        yield ok("code", f"{names} with our key, oche {own['oche']} and Python {own['python']}, as here")


def _differences(answer: Answer, own: dict[str, str | float], busy: bool, patience: float) -> Iterator[Finding]:
    name, told = answer.worker, answer.about
    if answer.stranger:
        text = f"{name} has another key than this machine, or none: it refuses our jobs"
        yield error("key", text, "set OCHE_KEY there to what `oche key` prints here, and restart it")
    elif answer.problem:
        yield error("code", f"{name} cannot say what it is: {answer.problem}", "install this oche there and restart it")
    elif told is None and busy:
        yield note("code", f"{name} did not say what it is within {patience:g} s: its slots are busy")
    elif told is None:
        text = f"{name} has a slot free and did not answer within {patience:g} s"
        yield warning("workers", text, "see its log; `oche status` shows whether it is still there")
    else:
        yield from versions(name, told, own)
        if (skew := skew_of(float(told["time"]), answer.sent, answer.received)) > SKEW:
            yield warning("clock", f"the clock of {name} is off by {skew:,.0f} s or more", "run chrony or ntpd on both")


def versions(name: str, told: dict[str, str | float], own: dict[str, str | float]) -> Iterator[Finding]:
    """What a worker runs that this program does not."""
    if told["oche"] != own["oche"]:
        text = f"{name} runs oche {told['oche']}, this is {own['oche']}"
        yield warning("code", text, "install the same on all machines and restart the workers")
    elif told["code"] != own["code"]:
        text = f"{name} runs an oche {told['oche']} of other source than this: it refuses jobs of oche's own algorithms"
        yield warning("code", text, "bring both to the same source and restart the worker")
    theirs, ours = str(told["python"]), platform.python_version()
    if theirs.split(".")[:2] != ours.split(".")[:2]:
        text = f"{name} runs Python {theirs}, this is {ours}: functions that travel by value are refused"
        yield warning("code", text, "use the same Python everywhere, or put the functions into a module")
    elif theirs != ours:
        yield note("code", f"{name} runs Python {theirs}, this is {ours}")


def skew_of(theirs: float, sent: float, received: float) -> float:
    """By how much another clock is off at least: it was read at some time between `sent` and `received` of ours."""
    return max(sent - theirs, theirs - received, 0.0)
