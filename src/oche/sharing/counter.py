"""A counter that processes share: atomic, and without a lock that a killed process could hold."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Self

from oche.errors import ConfigError, ValueLost
from oche.sharing.memory import Memory

if TYPE_CHECKING:
    from oche.kernels.atomic import Cell


class Counter:
    """An int64, 0 at first. Pickled, or inherited by fork, it is the same counter."""

    def __init__(self, memory: Memory | None = None) -> None:
        """A new counter; `memory` is for copies in other processes."""
        from oche.kernels import atomic  # here, for it brings a compiler

        self._memory = Memory.create(8) if memory is None else memory
        self._cell: Cell | None = atomic.cell(self._memory.map())
        self._load, self._add = atomic.load, atomic.fetch_add

    def add(self, n: int = 1) -> int:
        """Adds n, and returns the value with it: no two calls of add(1) anywhere return the same.

        Raises `ConfigError` for what is no whole number of 64 bits. Beyond 2**63 - 1 it goes on from -2**63.
        """
        n = _int64(n)
        return _wrapped(self._add(self._open(), n) + n)

    @property
    def value(self) -> int:
        """What was added up to now."""
        value: int = self._load(self._open())
        return value

    def close(self) -> None:
        """This process needs it no more; others keep it. May be called twice."""
        self._cell = None
        self._memory.close()

    def _open(self) -> Cell:
        if self._cell is None:
            raise ValueLost("this Counter was closed here; make another, or close it later")
        return self._cell

    def __reduce__(self) -> tuple[type[Counter], tuple[Memory]]:
        self._open()
        return type(self), (self._memory,)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _int64(n: int) -> int:
    try:
        whole = operator.index(n)
    except TypeError as error:
        raise ConfigError(f"{n!r} cannot be counted: take a whole number") from error
    if not -(2**63) <= whole < 2**63:
        raise ConfigError(f"{n} cannot be counted: take a number from -2**63 to 2**63 - 1")
    return whole


def _wrapped(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63
