"""One operation over many items: pieces go out a bounded number ahead, and come back in any order.

    source --cut(size by pace)--> ticket --desk--> workers --outcome--> `results()`

The caller's own thread cuts and puts, each time it asks for a result; so an endless source runs in flat
memory, and a source that does I/O or raises does so in the thread of the one who wrote it.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from oche.cluster.chunking import Pace, low_water
from oche.cluster.desk import Desk
from oche.cluster.journal import Known
from oche.cluster.making import JobMaker
from oche.cluster.sources import Piece, Source
from oche.cluster.ticket import Row, Ticket
from oche.wire.task import TaskRef

#: Pieces that may be done ahead of the first that is not, for each one that may be out.
AHEAD = 4


@dataclass(frozen=True, slots=True)
class Part:
    """A piece that came back: items lo..hi, with the value or error of each of its calls."""

    lo: int
    hi: int
    values: list[Any]
    errors: dict[int, BaseException]


class Flow:
    """The pieces of one operation. Used by one thread; leaving it by `with` stops what is out."""

    def __init__(
        self, desk: Desk, maker: JobMaker, ref: TaskRef, source: Source, pace: Pace, *,
        size: int | None = None, op: bytes = b"", deadline: float | None = None,
    ) -> None:  # fmt: skip
        self._desk, self._maker, self._ref, self._source, self._pace = desk, maker, ref, source, pace
        self._size, self._op, self._deadline = size, op, deadline
        self._done: queue.SimpleQueue[Ticket] = queue.SimpleQueue()
        self._out: dict[int, tuple[Ticket, int]] = {}  # lo -> (ticket, hi), also those in _done
        self._next = 0  # first item not cut
        self._ended = False
        journal = desk.journal
        self._known = {known.row.lo: known for known in journal.known(op)} if journal is not None else {}
        self._ahead = sorted(self._known, reverse=True)
        self._fill()

    def results(self) -> Iterator[Part]:
        """Each piece once, as it comes back."""
        while self._out:
            part = self._wait()
            self._fill()
            yield part

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is GeneratorExit:  # perhaps by the garbage collector
            self._desk.soon(self.stop)
        else:
            self.stop()

    def stop(self, after: int = -1) -> None:
        """No new pieces, and those that begin after item `after` are given up."""
        self._ended = True
        late = [lo for lo in self._out if lo > after]
        if late:
            self._desk.cancel([self._out.pop(lo)[0] for lo in late])

    def _wait(self) -> Part:
        while True:
            left = None if self._deadline is None else self._deadline - time.monotonic()
            try:
                ticket = self._done.get(timeout=None if left is None else max(0.0, left))
            except queue.Empty:
                raise TimeoutError("no result within the timeout given to map") from None
            out, hi = self._out.get(ticket.lo, (None, 0))
            if out is not ticket:  # given up meanwhile
                continue
            del self._out[ticket.lo]
            if ticket.seconds:
                self._record(ticket)
            return Part(ticket.lo, hi, ticket.values, ticket.errors)

    def _record(self, ticket: Ticket) -> None:
        first = self._pace.per_item is None
        self._pace.record(ticket.items, ticket.seconds)
        if first:  # those that went out before anything was measured can be late from now on, too
            for out, _ in self._out.values():
                out.expected = self._pace.per_item and self._pace.per_item * out.items

    def _fill(self) -> None:
        """Cuts and puts pieces until enough are out for the slots, or too many are ahead of the first missing one."""
        tickets: list[Ticket] = []
        self._pace.slots = self._desk.slots
        head: int | None = None
        try:
            while not self._ended:
                size = self._size or self._pace.size(self._source.remaining)
                depth = self._pace.depth(size)
                waiting = len(self._out)
                if waiting >= (depth if tickets else low_water(depth)):
                    break
                if head is None:
                    head = min(self._out, default=self._next)
                if waiting and self._next - head > AHEAD * depth * size:
                    break
                if (ticket := self._cut(size)) is not None:
                    tickets.append(ticket)
        finally:
            if tickets:
                self._desk.issue(tickets, priority=self._ref.options.priority, delay=self._ref.options.delay)

    def _cut(self, size: int) -> Ticket | None:
        """The next piece as a ticket to be put; None if there is none, or it is known from an earlier life."""
        known = self._known.pop(self._next, None)
        while self._ahead and self._ahead[-1] <= self._next:
            self._ahead.pop()
        if known is not None:
            size = known.row.hi - known.row.lo
        elif self._ahead:
            size = min(size, self._ahead[-1] - self._next)
        piece = self._source.cut(size)
        if piece is None:
            self._ended = True
            return None
        self._next = piece.hi
        if known is not None and self._recall(known, piece):
            return None
        return self._ticket(piece)

    def _ticket(self, piece: Piece) -> Ticket:
        ticket = self._maker.make(self._ref, piece.calls, piece.count, items=piece.hi - piece.lo)
        per_item = self._pace.per_item
        ticket.expected = None if per_item is None else per_item * ticket.items
        ticket.on_done, ticket.lo = self._done.put, piece.lo
        if self._desk.journal is not None:
            ticket.rows = [Row(self._op, piece.lo, piece.hi, piece.digest, 0, piece.count)]
        self._out[piece.lo] = (ticket, piece.hi)
        return ticket

    def _recall(self, known: Known, piece: Piece) -> bool:
        """Whether an earlier life of this run did this very piece, or has it under way; then it is not put."""
        if (known.row.hi, known.row.digest) != (piece.hi, piece.digest):
            return False
        claim = partial(self._maker.claim, ref=self._ref, calls=piece.calls)
        found = self._desk.resume_piece(self._op, piece.lo, self._done.put, claim)
        if found is None:
            return False
        if isinstance(found, Ticket):
            found.items = piece.hi - piece.lo
            self._out[piece.lo] = (found, piece.hi)
            return True
        ticket = self._maker.make(self._ref, b"[]", piece.count)
        ticket.recall(found)
        ticket.lo = piece.lo
        self._out[piece.lo] = (ticket, piece.hi)
        self._done.put(ticket)
        return True
