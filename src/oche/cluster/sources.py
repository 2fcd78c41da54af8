"""What an operation over many items is cut from: the items of an iterable, or a span of integers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from oche.cluster.making import JobMaker
from oche.errors import ConfigError
from oche.wire.codec import encode_args, encode_call
from oche.wire.task import TaskRef


@dataclass(frozen=True, slots=True)
class Piece:
    """Items lo..hi of an operation, as the calls of one job."""

    lo: int
    hi: int
    calls: bytes  #: JSON array of calls
    count: int  #: of calls
    digest: bytes  #: of the arguments where they are not clear from lo and hi


class Source(Protocol):
    """Gives pieces in order."""

    @property
    def remaining(self) -> int | None:
        """Items not cut yet; None if nobody knows."""

    def cut(self, size: int) -> Piece | None:
        """The next piece, of `size` items or fewer; None when there is nothing left."""


class Items:
    """Argument tuples of an iterable, pulled only when they are needed."""

    def __init__(self, tuples: Iterable[Sequence[Any]], length: int | None, ref: TaskRef, maker: JobMaker) -> None:
        self._tuples: Iterator[Sequence[Any]] = iter(tuples)
        self._length, self._ref, self._maker = length, ref, maker
        self._next = 0
        self._held: list[Sequence[Any]] = []  # pulled, and too large to travel with those before them
        self._per_byte = 1.0  # items a byte of JSON held, at the last cut

    @property
    def remaining(self) -> int | None:
        return None if self._length is None else max(0, self._length - self._next)

    def cut(self, size: int) -> Piece | None:
        room = self._maker.room(self._ref)
        taken = self._pull(max(1, min(size, int(room * self._per_byte))))
        if not taken:
            return None
        encoded = self._encode(taken)
        while len(encoded) > room and len(taken) > 1:
            half = len(taken) // 2
            self._held[:0] = taken[half:]
            taken = taken[:half]
            encoded = self._encode(taken)
        self._maker.check(self._ref, encoded)
        self._per_byte = len(taken) / len(encoded)
        lo, self._next = self._next, self._next + len(taken)
        return Piece(lo, self._next, encoded, len(taken), hashlib.sha256(encoded).digest())

    def _pull(self, size: int) -> list[Sequence[Any]]:
        taken, self._held = self._held[:size], self._held[size:]
        if len(taken) < size:
            taken.extend(islice(self._tuples, size - len(taken)))
        return taken

    def _encode(self, taken: list[Sequence[Any]]) -> bytes:
        ref = self._ref
        if ref.kwargs:
            return b"[" + b",".join([encode_call((*ref.args, *args), ref.kwargs) for args in taken]) + b"]"
        return encode_args([(*ref.args, *args) for args in taken] if ref.args else taken)


class Span:
    """A range of integers; a piece is one call `fn(lo, hi)`."""

    def __init__(self, span: range, ref: TaskRef) -> None:
        if not isinstance(span, range) or span.step != 1:
            raise ConfigError(f"a span is a range with step 1, not {span!r}; take range(n) and scale inside the task")
        self._span, self._ref = span, ref
        self._next = 0

    @property
    def remaining(self) -> int:
        return max(0, self._span.stop - self._span.start) - self._next

    def cut(self, size: int) -> Piece | None:
        size = min(size, self.remaining)
        if size < 1:
            return None
        lo, self._next = self._next, self._next + size
        start = self._span.start
        call = encode_call((*self._ref.args, start + lo, start + self._next), self._ref.kwargs)
        return Piece(lo, self._next, b"[" + call + b"]", 1, b"")
