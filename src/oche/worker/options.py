"""How a worker is set up."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass

from oche.errors import ConfigError, Unsupported
from oche.wire.names import Farm


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Raises `ConfigError` for values that cannot be right, `Unsupported` for what this system cannot do."""

    slots: int  #: children that compute at the same time
    farm: Farm
    grace: float = 10.0  #: seconds that a drain gives to the jobs that run
    memory_limit: int | None = None  #: bytes a child may hold; over it it is killed
    max_jobs: int | None = None  #: a child is replaced after so many jobs
    max_rss: int | None = None  #: bytes; a child that holds more after a job is replaced
    unsigned: bool = False  #: take unsigned jobs too, for tasks marked in `modules`
    modules: tuple[str, ...] = ()
    path: tuple[str, ...] = ()  #: goes before sys.path in the children
    store: str = ""  #: URL of the client's store, with its password, for the children
    initializer: bytes | None = None  #: pickle of (callable, arguments), run once at the start of each child

    def __post_init__(self) -> None:
        for name in ("slots", "memory_limit", "max_jobs", "max_rss"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name}={value!r} cannot be used: it must be more than 0")
        if self.grace < 0:
            raise ConfigError(f"grace={self.grace!r} cannot be used: give 0 or more seconds")
        if (self.memory_limit or self.max_rss) and not os.path.exists("/proc/self/statm"):
            raise Unsupported("memory_limit and max_rss need /proc, which this system lacks; leave them out")


def worker_name(slots: int) -> str:
    """host.pid.slots, in letters that every broker can carry in a tube's name."""
    host = re.sub(r"[^A-Za-z0-9_\-]", "-", socket.gethostname().partition(".")[0])[:60].lstrip("-") or "host"
    return f"{host}.{os.getpid()}.{slots}"
