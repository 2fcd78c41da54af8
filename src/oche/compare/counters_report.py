"""The counter comparison in a table."""

from __future__ import annotations

from collections.abc import Iterator

from oche.compare.counters import RUNS, Comparison
from oche.compare.table import Goal, Table, seconds

#: What is safe, and must lose nothing.
SAFE = ("file, FileLock", "Value, its lock", "RawValue, a lock", "oche: SharedArray, Lock", "oche: Counter")


def table(found: Comparison) -> Table:
    """One row a way."""
    rows = [
        [
            name,
            f"{found.expected:,}",
            f"{count.got:,}",
            f"{found.expected - count.got:,}",
            f"{count.broken:,}" if name.startswith("file") else "",
            seconds(count.seconds),
        ]
        for name, count in found.counts.items()
    ]
    race = found.race
    rows.append(
        ["a race, on purpose", f"{race.expected:,}", f"{race.got:,}", f"{race.lost:,}", "", seconds(found.race_seconds)]
    )
    return Table(
        title=f"{found.processes} processes add 1 {found.increments:,} times each: the worst count and the best time "
        f"of {RUNS} runs",
        heads=["", "expected", "got", "lost", "no number read", "time"], rows=rows, notes=tuple(_notes(found)),
    )  # fmt: skip


def _notes(found: Comparison) -> Iterator[str]:
    yield "no number read: a reader met the file between emptying and writing, and counted on from 0"
    yield from (f"{name}: {why}" for name, why in found.whys.items())
    for name, count in found.counts.items():
        if name not in SAFE and count.got == found.expected:
            yield f"{name} lost nothing this time: its race hides when processes do not meet; it is there all the same"
    yield (
        f"the race on purpose: a process yields between its read and its write, and seed {found.race.seed} says who "
        "goes on; the same seed loses the same updates on any machine, every seed some (time: with starting them)"
    )
    yield "published, with 4 processes: a file without a lock 629 of 4,000 in 125 ms, and with one 4,000 in 401 ms"
    yield "published, with 4 processes: Value without its lock 2,340 of 4,000; with it 22.2 ms, RawValue 12.6 ms"


def goals(found: Comparison) -> list[Goal]:
    """What oche means to reach."""
    safe = all(found.counts[name].got == found.expected for name in SAFE)
    return [
        Goal("with a lock, or oche's Counter, no update is lost", safe),
        Goal("the race on purpose loses updates", found.race.lost >= found.processes - 1),
    ]


def plain(found: Comparison) -> dict[str, object]:
    """For JSON."""
    return {"found": found, "goals": goals(found)}
