"""The seam to a place for large values: bytes under a name, written once, read by any worker that reaches the store.

A value belongs to the store object that made it and ends with it, also when its process is killed. Values are
written in pieces, if at all, and each byte with its final content only: a job that runs twice then writes the same
bytes twice, and a reader that was told that all pieces are there never sees others.

What a worker has for its client it gives away: such a value has one reader and ends with that. If the reader never
comes, it ends some minutes later, or earlier with the store that gave it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

from oche.errors import StoreError

Buffer: TypeAlias = "bytes | bytearray | memoryview"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a driver can do."""

    here_only: bool  #: only processes of this machine reach it
    mapped: bool  #: `get` copies nothing
    pieces: bool  #: values can be made empty and written piece by piece
    keeps: bool  #: never drops a value by itself; else every `get` must expect `ValueLost`
    max_value: int | None = None  #: bytes


class Store(ABC):
    """An open store. Thread-safe. What it made is deleted by `close`."""

    traits: Traits
    url: str  #: by which `attach` finds the values from another process

    @classmethod
    @abstractmethod
    def open(cls, url: str) -> Self:
        """A store to put values into.

        Raises `ConfigError` for a URL that cannot be right, `Unsupported` where this machine cannot, `StoreError`.
        """

    @abstractmethod
    def put(self, data: Buffer) -> str:
        """Keeps a copy of C-contiguous data; returns its name. Raises `StoreFull` where it has no room for it."""

    @abstractmethod
    def create(self, size: int) -> str:
        """A value of `size` zero bytes, to be written in pieces; its name. Raises `StoreFull`, `Unsupported`."""

    @abstractmethod
    def write(self, name: str, start: int, data: Buffer) -> None:
        """Writes a piece of a value that anybody created. Raises `ValueLost`, `StoreError` for what would not fit."""

    def write_many(self, name: str, pieces: Iterable[tuple[int, Buffer]]) -> None:
        """Writes several pieces, each with where it starts; otherwise as `write`."""
        for start, data in pieces:
            self.write(name, start, data)

    @abstractmethod
    def get(self, name: str) -> memoryview:
        """All of a value, read-only. It stays readable when the value is deleted. Raises `ValueLost`."""

    def take(self, name: str) -> memoryview:
        """All of a value as memory of the caller's own, to write into; nobody else sees what is written."""
        return memoryview(bytearray(self.get(name)))

    def get_many(self, name: str, spans: Sequence[tuple[int, int]]) -> list[memoryview]:
        """Bytes start .. stop - 1 of a value for each span, read-only. Raises `ValueLost`, `StoreError` beyond its end.

        A driver that can asks for no more than that.
        """
        whole = self.get(name)
        for start, stop in spans:
            if not 0 <= start <= stop <= whole.nbytes:
                raise StoreError(f"bytes {start:,} to {stop:,} do not fit {name}, which has {whole.nbytes:,}")
        return [whole[start:stop] for start, stop in spans]

    @abstractmethod
    def give(self, data: Buffer) -> str:
        """Keeps a copy of data until one reader accepts it; returns its name. Raises `StoreFull`."""

    @abstractmethod
    def accept(self, name: str) -> memoryview:
        """All of a value that any store gave, which ends with that. Raises `ValueLost`, also for the second reader."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Forgets a value; one that is gone already is no error."""

    @abstractmethod
    def close(self) -> None:
        """Forgets all that this object made. May be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
