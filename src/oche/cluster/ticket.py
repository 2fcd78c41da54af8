"""What the client knows of one job of its own: what was put, and what has come back of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from oche.cluster.future import Future
from oche.errors import BadMessage
from oche.wire.codec import decode_values, encode_values
from oche.wire.exceptions import rebuild
from oche.wire.job import Job
from oche.wire.outcome import Outcome
from oche.wire.stored import Stored


@dataclass(frozen=True, slots=True)
class Row:
    """A piece of a named run in its journal: items lo..hi of operation `op`, calls first.. of their job."""

    op: bytes
    lo: int
    hi: int
    digest: bytes  #: of the arguments, so that a changed program is noticed
    first: int = 0  #: place in the job of the piece's first call
    count: int = 1  #: calls of the job that make the piece


class Ticket:
    """One job: the first value, or error, of each of its calls, and who waits for them.

    `take` is called by the inbox alone; the fields up to `due_at` are settled before the job is put.
    """

    __slots__ = (
        "arrived", "body", "copies", "due_at", "errors", "expected", "futures", "items",
        "job", "lo", "losses", "on_done", "output", "put_at", "rows", "seconds", "stored", "values", "worker",
    )  # fmt: skip

    def __init__(self, job: Job, body: bytes, *, items: int = 1) -> None:
        self.job = job
        self.body = body  #: sealed, ready to be put again
        self.items = items  #: what the pace counts: calls, or the length of a span
        self.futures: list[Future[Any] | None] = []  #: one a call (None where nobody asks yet), or empty
        self.on_done: Callable[[Ticket], None] | None = None
        self.lo = 0  #: first item, for the operation that it is a piece of
        self.rows: list[Row] = []
        self.stored: list[Stored] = []  #: what the job names in the store, and this client has put there
        self.losses = 0  #: how often something by reference was lost
        self.put_at = 0.0
        self.due_at = 0.0
        self.copies = 0
        self.expected: float | None = None
        self.arrived: set[int] | None = None  #: calls that have an answer; None once all have
        self.values: list[Any] = []
        self.errors: dict[int, BaseException] = {}
        self.seconds = 0.0
        self.worker = ""
        self.output: list[tuple[str, str]] = []
        if job.count > 1:
            self.arrived = set()

    @property
    def asked(self) -> bool:
        """Whether anybody waits for it yet; for a job of an earlier life of the run, somebody may later."""
        return self.on_done is not None or bool(self.futures)

    @property
    def done(self) -> bool:
        """Whether every call has an answer."""
        return self.arrived is None and (bool(self.values) or bool(self.errors))

    def take(self, outcome: Outcome, *, trusted: bool) -> list[int]:
        """Keeps the first answer of each call; returns the places of the calls that had none before.

        A value that cannot be read here is an answer too: a `BadMessage`.
        """
        if self.done:
            return []
        size, first = self.job.count, outcome.first
        values, unreadable = _values(outcome, trusted=trusted)
        errors = {
            first + place: rebuild(failure, trusted=trusted, where=outcome.worker)
            for place, failure in outcome.failures.items()
        } | {first + place: error for place, error in unreadable.items()}
        self.worker = outcome.worker
        self.output = outcome.output
        self.seconds += outcome.seconds
        if not self.arrived and first == 0 and outcome.count == size == len(values):
            self.values, self.errors, self.arrived = values, errors, None
            return list(range(size))
        return self._take_part(first, values, errors)

    def _take_part(self, first: int, values: list[Any], errors: dict[int, BaseException]) -> list[int]:
        arrived = self.arrived if self.arrived is not None else set()
        if not self.values:
            self.values = [None] * self.job.count
        fresh = []
        for place, value in enumerate(values, first):
            if 0 <= place < self.job.count and place not in arrived:
                arrived.add(place)
                fresh.append(place)
                self.values[place] = value
                if place in errors:
                    self.errors[place] = errors[place]
        self.arrived = arrived if len(arrived) < self.job.count else None
        return fresh

    def recall(self, values: list[Any]) -> None:
        """All values, from the journal."""
        self.values, self.arrived = values, None

    def finished(self, fresh: list[int]) -> Iterator[tuple[Row, bytes]]:
        """The rows that these calls complete, with the JSON array of their values; none that has an error in it."""
        new = set(fresh)
        for row in self.rows:
            span = range(row.first, row.first + row.count)
            ready = self.arrived is None or all(place in self.arrived for place in span)
            if ready and not new.isdisjoint(span) and not any(place in self.errors for place in span):
                yield row, encode_values(self.values[row.first : row.first + row.count])

    def deliver(self, fresh: list[int]) -> None:
        """Tells those who wait for these calls."""
        if self.futures:
            for place in fresh:
                future = self.futures[place]
                if future is None:
                    continue
                future.worker, future.output = self.worker, self.output
                if place in self.errors:
                    future.fail(self.errors[place])
                else:
                    future.resolve(self.values[place])
        if self.done and self.on_done is not None:
            self.on_done(self)

    def refuse(self, error: BaseException) -> list[int]:
        """Gives every call that has no answer yet this error; returns their places."""
        if self.done:
            return []
        arrived = self.arrived if self.arrived is not None else set()
        fresh = [place for place in range(self.job.count) if place not in arrived]
        self.values = self.values or [None] * self.job.count
        self.errors.update(dict.fromkeys(fresh, error))
        self.arrived = None
        return fresh


def _values(outcome: Outcome, *, trusted: bool) -> tuple[list[Any], dict[int, BaseException]]:
    """The values; and by place the errors of those that cannot be read here, which must not hide the others."""
    try:
        return decode_values(outcome.values, trusted=trusted), {}
    except BadMessage:
        values: list[Any] = []
        errors: dict[int, BaseException] = {}
    for place, raw in enumerate(msgspec.json.decode(outcome.values, type=list[msgspec.Raw])):
        try:
            values += decode_values(b"[" + bytes(raw) + b"]", trusted=trusted)
        except BadMessage as error:
            values.append(None)
            errors[place] = error
    return values, errors
