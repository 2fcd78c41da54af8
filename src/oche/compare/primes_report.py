"""The prime comparison in a table and in words: what was published, what came out here, and why a row wins."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from oche.compare.primes import Comparison, Number
from oche.compare.primes_rows import ROWS, Row
from oche.compare.table import Goal, Table, seconds

#: The row that others are compared with.
BASE = "pool"
#: Times faster than it on the large composites, and time more on the primes, with four processes.
PUBLISHED = {BASE: (1.0, 0.0), "local": (4.8, 0.015)}
PUBLISHED_LOOKS = 316_405
#: What the byte may cost at most, and how long a stop may take.
COST, STOP = 0.01, 5e-3
#: Time that two rows may differ by and still be called equal, on a machine with nothing else to do.
EQUAL = 0.03


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Something that was published."""

    text: str
    holds: bool
    because: str = ""  #: why not, if it does not

    def __str__(self) -> str:
        return f"published: {self.text}: {'so it is here' if self.holds else f'not so here: {self.because}'}"


def table(found: Comparison) -> Table:
    """One row a variant."""
    heads = ["", *(short(number) for number in found.numbers)]
    heads += ["composites", "published", "primes", "published", "looks, primes"]
    rows = [_line(found, row) for row in ROWS if row.name in found.timings]
    rows += [[name, *([""] * (len(heads) - 2)), "not here"] for name in found.lacking]
    return Table(
        title=f"Is it prime? {found.processes} processes, the best of {found.runs} runs; beside the row '{BASE}'",
        heads=heads, rows=rows, notes=tuple(_notes(found)),
    )  # fmt: skip


def short(number: Number) -> str:
    """The last digits of a number and what it is, for the head of a column."""
    text = str(number.n)
    return f"{'…' + text[-4:] if len(text) > 6 else text} {'prime' if number.factor is None else 'composite'}"


def gain(found: Comparison, row: str) -> float | None:
    """Times faster than the base on composites with large factors."""
    return _over(found.seconds(BASE, found.composites), found.seconds(row, found.composites))


def more(found: Comparison, row: str) -> float | None:
    """Time more than the base on primes, as a fraction."""
    ratio = _over(found.seconds(row, found.primes), found.seconds(BASE, found.primes))
    return None if ratio is None else ratio - 1


def noise(found: Comparison) -> float | None:
    """What the machine was off: two rows that do the same on primes should take the same, and differ by this."""
    ratio = _over(found.seconds("naive-pool", found.primes), found.seconds(BASE, found.primes))
    return None if ratio is None else abs(ratio - 1)


def best_gain(found: Comparison) -> float | None:
    """What no early exit can beat, as the factors lie: a share is searched up to its factor, and no further."""
    places = [number.place for number in found.composites if number.place is not None]
    return len(places) / sum(places) if sum(places) > 0 else None


def cost_of_byte(found: Comparison) -> float | None:
    """Time more that the kernel takes with its byte, as a fraction."""
    return None if found.kernel_seconds is None else found.kernel_seconds[1] / found.kernel_seconds[0] - 1


def goals(found: Comparison) -> list[Goal]:
    """What oche means to reach."""
    cost, late = cost_of_byte(found), max(found.stops, default=None)
    return [
        Goal(
            "the byte costs the compiled kernel at most 1 % on the primes" + ("" if cost is None else f": {cost:+.2%}"),
            None if cost is None else cost <= COST,
        ),
        Goal(
            "all processes stop within 5 ms of a found factor"
            + ("" if late is None else f": {seconds(late)} at most, of {len(found.stops)} searches"),
            None if late is None else late <= STOP,
        ),
    ]


def claims(found: Comparison) -> Iterator[Claim]:
    """What was published, as far as the rows are there to judge it."""
    equal = max(EQUAL, noise(found) or 0.0)
    small = [number for number in found.numbers if number.near]
    serial, naive, checked = (found.seconds(row, small) for row in ("serial", "naive-pool", BASE))
    if serial is not None and naive is not None and checked is not None:
        yield Claim(
            text=f"on a small factor the naive pool takes {seconds(naive)} instead of {seconds(serial)}, and trying "
            f"factors below 21 first repairs it ({seconds(checked)})",
            holds=naive > 100 * serial and checked < naive / 100,
            because="the number is too small for its search to cost much",
        )
    dear = [row for row in ("manager", "redis") if row in found.timings]
    cheap = [row for row in ("raw-value", "mmap") if row in found.timings]
    worst = max((found.seconds(row, found.primes) or 0.0 for row in cheap), default=0.0)
    if dear and worst:
        yield Claim(
            text="a flag in a manager or in Redis loses on primes, as reading it costs too much",
            holds=all((found.seconds(row, found.primes) or 0.0) > worst for row in dear),
            because="looks are few beside the divisions between them",
        )
    gained, best = gain(found, "local"), best_gain(found)
    if gained is not None and best is not None:
        yield Claim(
            text=f"the last mmap variant is 4.8 times faster on composites with four processes; with {found.processes} "
            f"the factors lie so that at best {best:.1f} can be had, and it is {gained:.1f}",
            holds=gained >= 0.8 * best,
            because="the searches are so short that starting them counts",
        )
    slower = more(found, "local")
    if slower is not None:
        yield Claim(
            text=f"it is 1.5 % slower on primes than no flag at all ({slower:+.1%})",
            holds=slower <= 0.015 + equal,
            because="the shares are too short, or the machine was busy with something else",
        )
    yield from _order(found, equal)


#: Each variant was published as an improvement on the one before it.
STEPS = (
    ("mmap", "look-ahead", "a comparison at each candidate costs as much as a subtraction and a test"),
    ("look-ahead", "two-stage", "the machine was busy: there is less to do at each candidate"),
    ("two-stage", "local", "names outside of the inner loop cost nothing that could be measured"),
)


def _order(found: Comparison, equal: float) -> Iterator[Claim]:
    for before, after, because in STEPS:
        old, new = found.seconds(before, found.primes), found.seconds(after, found.primes)
        if old is not None and new is not None:
            yield Claim(
                text=f"{after} is no slower on primes than {before} ({new / old - 1:+.1%})",
                holds=new <= old * (1 + equal),
                because=because,
            )


def _line(found: Comparison, row: Row) -> list[str]:
    timings = found.timings[row.name]
    gained, extra = gain(found, row.name), more(found, row.name)
    published = PUBLISHED.get(row.name)
    looks = sum(timings[number.n].looks for number in found.primes)
    return [
        row.name,
        *(seconds(timings[number.n].seconds) for number in found.numbers),
        "" if gained is None else _times(gained),
        _times(published[0]) if published else "",
        "" if extra is None else _change(extra),
        _change(published[1]) if published else "",
        f"{looks:,}" if row.flag or row.name == "kernel-byte" else "",
    ]


def _notes(found: Comparison) -> Iterator[str]:
    yield f"composites: times faster than '{BASE}', those with large factors together; primes: more or less time"
    for number in found.numbers:
        yield f"{number.n} " + (
            "is prime" if number.factor is None else f"= {number.factor} * {number.n // number.factor}"
        )
    for name, reason in found.lacking.items():
        yield f"{name} is not here: {reason}"
    yield ""
    yield from _winners(found)
    yield ""
    yield from (f"{row.name}: {row.why}" for row in ROWS if row.name in found.timings)
    yield ""
    yield from map(str, claims(found))
    off = noise(found)
    if off is not None and off > EQUAL:
        yield f"naive-pool and pool do the same on primes, and differ by {off:.0%}: the machine was busy; run it again"
    if any(row.loop is not None and row.flag and row.name in found.timings for row in ROWS):
        yield f"published: {PUBLISHED_LOOKS:,} looks at the flag for the two primes, by four processes"
    if found.kernel_seconds is not None:
        plain, looked = found.kernel_seconds
        yield f"the primes by the kernel in one process: {plain * 1e3:.3f} ms without a byte, {looked * 1e3:.3f} with"
    if found.stops:
        middle = sorted(found.stops)[len(found.stops) // 2]
        yield (
            f"from a found factor to the end of the last process: {seconds(middle)} in the middle of "
            f"{len(found.stops)} searches, {seconds(max(found.stops))} at most"
        )
    if found.processes > (os.cpu_count() or 1):
        yield f"{found.processes} processes share {os.cpu_count()} cores: a stop waits until each has its turn"


def _winners(found: Comparison) -> Iterator[str]:
    python = [row for row in ROWS if row.loop is not None]
    everything = [row for row in ROWS if row.loop is not None or row.pool]
    for what, numbers, rows in (
        ("the composites, in Python", found.composites, python),
        ("the primes, in Python", found.primes, python),
        ("the composites, of all searches", found.composites, everything),
        ("the primes, of all searches", found.primes, everything),
        ("all", found.numbers, ROWS),
    ):
        known = [(taken, row) for row in rows if (taken := found.seconds(row.name, numbers)) is not None]
        if len(known) > 1:
            taken, row = min(known, key=lambda pair: pair[0])
            yield f"fastest on {what}: {row.name} ({seconds(taken)}); {row.why}"


def _times(value: float) -> str:
    return f"{value:,.{2 if value < 100 else 0}f} x"


def _change(value: float) -> str:
    if value < -0.9:
        return f"1/{1 / (1 + value):,.0f}"
    return f"{value:+.1%}" if value < 9 else f"{value + 1:,.0f} x"


def _over(a: float | None, b: float | None) -> float | None:
    return None if a is None or not b else a / b


def plain(found: Comparison) -> dict[str, object]:
    """For JSON: what was measured, and what follows from it."""
    rows: Sequence[str] = list(found.timings)
    return {
        "processes": found.processes,
        "runs": found.runs,
        "numbers": found.numbers,
        "rows": {
            row: {
                "seconds": {str(n): timing.seconds for n, timing in found.timings[row].items()},
                "looks": {str(n): timing.looks for n, timing in found.timings[row].items()},
                "times_faster_on_composites": gain(found, row),
                "more_time_on_primes": more(found, row),
            }
            for row in rows
        },
        "lacking": found.lacking,
        "kernel_seconds": found.kernel_seconds,
        "cost_of_byte": cost_of_byte(found),
        "stops": found.stops,
        "claims": list(claims(found)),
        "goals": goals(found),
    }
