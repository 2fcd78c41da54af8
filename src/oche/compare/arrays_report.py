"""The array comparison in tables."""

from __future__ import annotations

from collections.abc import Iterator

from oche.compare.arrays import COPY, Comparison
from oche.compare.table import Goal, Table, seconds, size

#: Times faster that two processes should draw random numbers than numpy alone.
FASTER = 1.9
#: Bytes that the interpreters may take meanwhile for themselves.
SLACK = 32 * 10**6
_WORDS = {"overwrite": "check each row for 42, overwrite it", "draw": "fill it with random numbers"}


def tables(found: Comparison) -> list[Table]:
    """Memory, and times."""
    return [_memory(found), _times(found)]


def goals(found: Comparison) -> list[Goal]:
    """What oche means to reach."""
    ratio = found.numpy_seconds / found.seconds["draw"][1]
    two = len(found.shares) == 2
    return [
        Goal(
            f"{size(found.nbytes)} handed to {len(found.shares)} processes cost no second copy: "
            f"{size(max(0, found.copied))} more than one",
            found.blocks == 1 and found.copied <= COPY * found.nbytes + SLACK,
        ),
        Goal(f"each process holds an equal share, and no 42 is left: {_equal(found)}", _is_equal(found)),
        Goal(f"two processes draw {FASTER} times as fast as numpy: {ratio:.2f}", ratio >= FASTER if two else None),
    ]


def _memory(found: Comparison) -> Table:
    heads = ["process", "rows", "array in sight (RSS)", "its memory (PSS)", "its alone (USS)"]
    rows = [
        [str(share.pid), f"{share.rows:,}", size(share.sight), size(share.pss), size(share.uss)]
        for share in found.shares
    ]
    return Table(
        title=f"{found.shape[0]:,} x {found.shape[1]:,} float64, {size(found.nbytes)}, in {len(rows)} processes",
        heads=heads, rows=rows, notes=tuple(_notes(found)),
    )  # fmt: skip


def _notes(found: Comparison) -> Iterator[str]:
    if found.shape != found.wanted:
        yield (
            f"not {found.wanted[0]:,} x {found.wanted[1]:,}, as that takes more memory than this machine has to spare; "
            f"--shape {found.wanted[0]}x{found.wanted[1]} insists"
        )
    yield (
        "PSS cuts what is shared among its sharers, so it may be added up: "
        f"{size(found.pss)} in all processes with this one, {size(found.before)} before there was an array"
    )
    yield f"shared blocks that they have in sight, by /proc/*/smaps: {found.blocks}"
    yield f"after overwriting: {_equal(found)}"


def _times(found: Comparison) -> Table:
    rows = []
    for name, (one, many) in found.seconds.items():
        rows.append([_WORDS[name], seconds(one), seconds(many), f"{one / many:.2f} x"])
    numpy = found.numpy_seconds
    rows.append(["the same numbers by numpy", seconds(numpy), "", ""])
    return Table(
        title="The best of two rounds",
        heads=["", "one process", f"{len(found.shares)} processes", "faster"], rows=rows,
        notes=("published, with four processes: 15 s and 4 s for random numbers, by generators seeded apart",),
    )  # fmt: skip


def _is_equal(found: Comparison) -> bool:
    rows = [share.rows for share in found.shares]
    return found.left == 0 and sum(rows) == found.shape[0] and max(rows) - min(rows) <= 1


def _equal(found: Comparison) -> str:
    rows = [share.rows for share in found.shares]
    each = f"{min(rows):,}" if min(rows) == max(rows) else f"{min(rows):,} to {max(rows):,}"
    return f"{each} rows each, {found.left:,} rows left"


def plain(found: Comparison) -> dict[str, object]:
    """For JSON."""
    return {"found": found, "copied": found.copied, "goals": goals(found)}
