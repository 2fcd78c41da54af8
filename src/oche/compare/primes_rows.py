"""The variants that are compared, one a row, each with what it does and why it costs what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from oche.compare import primes_loops as loops
from oche.compare.primes_loops import Loop
from oche.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Row:
    """A variant; one without a loop is no search in Python."""

    name: str
    why: str
    loop: Loop | None = None
    pool: bool = True  #: its shares are given to a pool's processes
    near: bool = True  #: factors below 21 are tried first, here
    flag: str = ""  #: the kind of flag that its processes look at


ROWS = (
    Row(
        name="serial", loop=loops.plain, pool=False, near=False,
        why="one process: a small factor is found at once, a large one late, and the other cores rest",
    ),
    Row(
        name="naive-pool", loop=loops.plain, near=False,
        why="all processes finish their shares, also when the first one found a factor at its first candidates",
    ),
    Row(
        name="pool", loop=loops.plain,
        why="less naive: a small factor is found before anybody is asked; a large one still stops nobody",
    ),
    Row(
        name="manager", loop=loops.counted, flag="manager",
        why="each look is a message to one process, for which all searchers queue",
    ),
    Row(
        name="redis", loop=loops.counted, flag="redis",
        why="each look is a message to a server; it is dear, and it is the only flag that other machines see",
    ),
    Row(
        name="raw-value", loop=loops.counted, flag="raw-value",
        why="a look is a read of memory; what is left of the cost is the counting down at each candidate",
    ),
    Row(
        name="mmap", loop=loops.counted, flag="mmap",
        why="the same by an anonymous map; counting down costs more than looking",
    ),
    Row(
        name="shared-memory", loop=loops.counted, flag="shared-memory",
        why="the same, with a name in /dev/shm by which others can join",
    ),
    Row(
        name="memory", loop=loops.counted, flag="memory",
        why="the same in memory without a name: goes to any process, and nothing is left after kill -9",
    ),
    Row(
        name="file", loop=loops.counted, flag="file",
        why="a look is a call of the kernel, a microsecond: every 1,000 candidates that is hardly seen",
    ),
    Row(
        name="look-ahead", loop=loops.look_ahead, flag="mmap",
        why="a comparison in place of counting down: one number less to make at each candidate",
    ),
    Row(
        name="two-stage", loop=loops.two_stage, flag="mmap",
        why="nothing but the division is left in the inner loop; looks are made between the stages",
    ),
    Row(
        name="local", loop=loops.local, flag="mmap",
        why="names of the outer loop are local; it runs once in 1,000 candidates, so little is left to gain",
    ),
    Row(
        name="kernel",
        why="machine code tries candidates in vectors, and only those without a factor 2, 3, 5 or 7; no early exit",
    ),
    Row(
        name="kernel-byte",
        why="the same, and a byte of shared memory is read every few milliseconds: early exit for nothing",
    ),
    Row(
        name="strong-test", pool=False,
        why="oche.is_prime searches for nothing: below 2**64 a strong test to seven bases is a proof",
    ),
)  # fmt: skip


def pick(names: str | None) -> tuple[Row, ...]:
    """The rows of these names, "mmap,local", in the table's order; all for None. Raises `ConfigError` for others."""
    if names is None:
        return ROWS
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in {row.name for row in ROWS}]
    if unknown or not wanted:
        what = f"no row is called {unknown[0]!r}" if unknown else "no row is named"
        raise ConfigError(f"{what}; take some of {', '.join(row.name for row in ROWS)}")
    return tuple(row for row in ROWS if row.name in wanted)
