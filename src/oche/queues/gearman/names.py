"""How the functions of a tube are named, and what a job's unique key says about the job.

T                     ready jobs, and those that are held
T:waiting             no jobs; who can do it waits for jobs of T at this moment
T:delay:MS:NUMBER     jobs of one put that go to T at this time (milliseconds since the epoch)
T:buried:MS:NUMBER    one job that was set aside at this time
:signal:NAME          no jobs; a signal that is up
:life:NUMBER          no jobs; names the life of the server
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self
from uuid import uuid4

from oche.errors import ConfigError
from oche.queues.seam import DEFAULT_LEASE, DEFAULT_PRIORITY

SIGNAL, LIFE = ":signal:", ":life:"
#: Priorities below each of these are high, and normal; the rest are low.
LEVELS = (DEFAULT_PRIORITY, 2**24)

_TUBE = re.compile(r"[^\s:\0-\x1f\x7f]{1,200}")
_LABEL = re.compile(rb"([0-9a-f]{32})\.(\d{1,6})\.(\d{1,5})\.(\d{1,10})\.([012])")
_LONGEST = 10**10 - 1  # milliseconds


@dataclass(frozen=True, slots=True)
class Function:
    """One line of the server's status. `kind` is "" for T itself."""

    name: str
    total: int
    running: int
    workers: int

    @property
    def tube(self) -> str:
        return self.name.partition(":")[0]

    @property
    def kind(self) -> str:
        return self.name.split(":")[1] if ":" in self.name else ""

    @property
    def at(self) -> float:
        """Seconds since the epoch that the name tells; 0 where it tells none."""
        parts = self.name.split(":")
        return int(parts[2]) / 1000 if len(parts) == 4 and parts[2].isdecimal() else 0.0

    @property
    def queued(self) -> int:
        return self.total - self.running

    @property
    def idle(self) -> bool:
        return self.total == 0 and self.workers == 0


@dataclass(frozen=True, slots=True)
class Label:
    """What the server does not know of a job. It travels as the job's unique key, 64 bytes at most."""

    id: str
    level: int = 1  #: 0 high, 1 normal, 2 low
    lease: float = DEFAULT_LEASE  #: seconds
    handed: int = 0  #: how often it was handed out before this copy of it was put
    copy: int = 0  #: two copies in one function, for a moment, must not have the same key

    @classmethod
    def of(cls, unique: bytes) -> Self:
        """The label that the key is. A job of somebody else gets one."""
        found = _LABEL.fullmatch(unique)
        if found is None:
            return cls(uuid4().hex)
        id, copy, handed, lease, level = found.groups()
        return cls(id.decode(), int(level), int(lease) / 1000, int(handed), int(copy))

    def again(self, handed: int) -> Label:
        """Of the next copy."""
        return replace(self, handed=min(handed, 99_999), copy=(self.copy + 1) % 10**6)

    def key(self) -> bytes:
        lease = min(max(1, round(self.lease * 1000)), _LONGEST)
        return b"%b.%d.%d.%d.%d" % (self.id.encode(), self.copy, self.handed, lease, self.level)


def functions(status: bytes) -> list[Function]:
    """The lines of an answer to `status`."""
    found = []
    for line in status.decode(errors="replace").splitlines():
        name, *counts = line.rsplit("\t", 3)
        if len(counts) == 3 and all(count.isdecimal() for count in counts):  # others may name theirs as they like
            found.append(Function(name, *map(int, counts)))
    return found


def of_tube(found: Iterable[Function], tube: str, kind: str) -> list[Function]:
    """Those of the tube that are of this kind, the earliest first."""
    return sorted((f for f in found if f.tube == tube and f.kind == kind), key=lambda f: (f.at, f.name))


def check_tube(tube: str) -> str:
    """Returns the name; raises `ConfigError` if it cannot be a function's."""
    if not _TUBE.fullmatch(tube):
        raise ConfigError(f"tube {tube!r}: on Gearman it takes 1 to 200 characters, without colons and spaces")
    return tube


def level(priority: int) -> int:
    """0, 1 or 2: high, normal, low."""
    return sum(priority >= edge for edge in LEVELS)


def delayed(tube: str, delay: float) -> str:
    """A new function for jobs that are ready so many seconds from now."""
    return f"{tube}:delay:{round((time.time() + delay) * 1000)}:{uuid4().hex}"


def buried(tube: str) -> str:
    """A new function for a job that is set aside now."""
    now = time.time_ns()
    return f"{tube}:buried:{now // 1_000_000}:{now:x}.{uuid4().hex[:8]}"


def raised(name: str) -> str:
    """The function of a signal. The server drops functions whatever the case of their letters, so capitals go, too."""
    return SIGNAL + re.sub(r"[^a-z0-9_.;/+$()-]", lambda odd: "".join(f"^{byte:02x}" for byte in odd[0].encode()), name)


def signal_of(function: str) -> str:
    """The signal of such a function."""
    escaped = function.removeprefix(SIGNAL).encode()
    return re.sub(rb"\^([0-9a-f]{2})", lambda odd: bytes.fromhex(odd[1].decode()), escaped).decode(errors="replace")
