"""What a task asks of those who run it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypedDict

from oche.errors import ConfigError

_MOST_PRIORITY = 2**32 - 1


class TaskChoices(TypedDict, total=False):
    """The keywords of `oche.task`; what is left out stays as it was."""

    retries: int
    crashes: int
    timeout: float | None
    priority: int | None
    delay: float
    alone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """How the calls of a task are to be run. Raises `ConfigError` for values that cannot be right."""

    retries: int = 0  #: how often a call that raised is tried again
    crashes: int = (
        2  #: how often one whose process died, or whose worker was lost, is tried again (or `retries`, if more)
    )
    timeout: float | None = None  #: seconds that one call may take; None is no limit
    priority: int | None = None  #: 0 is most urgent, 2**32 - 1 least; None is the queue's usual
    delay: float = 0.0  #: seconds that a job waits before a worker may take it

    alone: bool = False  #: each call is a job of its own, however short such calls were so far

    def __post_init__(self) -> None:
        for name in ("retries", "crashes"):
            if not _whole(value := getattr(self, name)) or value < 0:
                raise ConfigError(f"{name}={value!r}: give a whole number of 0 or more")
        if self.timeout is not None and not (_number(self.timeout) and self.timeout > 0):
            raise ConfigError(f"timeout={self.timeout!r}: give seconds above 0, or None for no limit")
        if self.priority is not None and not (_whole(self.priority) and 0 <= self.priority <= _MOST_PRIORITY):
            raise ConfigError(f"priority={self.priority!r}: give 0 (most urgent) to {_MOST_PRIORITY}, or None")
        if not _number(self.delay) or self.delay < 0:
            raise ConfigError(f"delay={self.delay!r}: give seconds of 0 or more")
        if not isinstance(self.alone, bool):
            raise ConfigError(f"alone={self.alone!r}: give True or False")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
