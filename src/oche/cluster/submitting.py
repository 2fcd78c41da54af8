"""Submitted calls on their way into jobs: short calls of one task travel together, as many as measured time allows.

The first calls of a task travel alone. While jobs enough are out for every slot, further calls wait here, and
when outcomes come in, what waits is cut into jobs of about equal measured time. Calls longer than that go on
travelling alone.

A call that finds nothing out is put by the thread that submits it, at once. All others are put by the sender, a
thread of its own: while one put goes on, calls gather for the next, so that the slower the broker stores a job,
the more calls share one.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from oche.cluster.chunking import Pace, low_water
from oche.cluster.desk import Desk
from oche.cluster.future import Future
from oche.cluster.making import JobMaker
from oche.cluster.ticket import Row, Ticket
from oche.queues.seam import DEFAULT_PRIORITY
from oche.wire.options import TaskOptions
from oche.wire.task import TaskRef


@dataclass(slots=True)
class Call:
    """One submitted call: its arguments as JSON, its Future, its row in the journal of a named run."""

    ref: TaskRef
    encoded: bytes
    future: Future[Any]
    row: Row | None = None


@dataclass(slots=True)
class _Line:
    """Calls of one task that wait, how many jobs of it are out, and its pace."""

    options: TaskOptions
    pace: Pace
    calls: deque[Call] = field(default_factory=deque)
    out: int = 0

    @property
    def urgency(self) -> int:
        priority = self.options.priority
        return DEFAULT_PRIORITY if priority is None else priority


class Submitter:
    """Cuts waiting calls into jobs. Thread-safe."""

    def __init__(self, desk: Desk, maker: JobMaker) -> None:
        self._desk, self._maker = desk, maker
        self._lines: dict[tuple[str, TaskOptions], _Line] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._sender: threading.Thread | None = None

    def submit(self, call: Call) -> None:
        """Lets the call travel when its turn comes, at once if slots wait for work."""
        ref = call.ref
        key = (ref.name, ref.options)
        with self._lock:
            if self._closing:  # it would wait for ever
                raise RuntimeError("cannot schedule new futures after shutdown")
            line = self._lines.get(key)
            if line is None:
                line = self._lines[key] = _Line(ref.options, Pace(self._desk.slots))
            line.calls.append(call)
            alone = line.out == 0 and len(line.calls) == 1
        if alone or ref.options.delay:
            self._send(line)
        else:
            self.pump()

    def pump(self) -> None:
        """Lets the sender put what the slots can use soon."""
        if self.waiting and not self._wake.is_set():
            if self._sender is None:
                self._start()
            self._wake.set()

    def send(self) -> None:
        """Puts as many jobs as the slots can use soon, the most urgent first."""
        for line in sorted(self._lines.values(), key=lambda line: line.urgency):
            if line.calls:
                self._send(line)

    def close(self) -> None:
        """Ends the sender."""
        with self._lock:
            self._closing = True
        self._wake.set()
        if self._sender is not None and self._sender is not threading.current_thread():
            self._sender.join(10.0)

    def _start(self) -> None:
        with self._lock:
            if self._sender is None and not self._closing:
                self._sender = threading.Thread(target=self._run, name="oche-sender", daemon=True)
                self._sender.start()

    def _run(self) -> None:
        while self._wake.wait() and not self._closing:
            self._wake.clear()
            self.send()

    def drop(self, future: Future[Any]) -> None:
        """Its caller cancelled it: the call does not travel, or its job is stopped unless other calls need it."""
        ticket = future.job
        if isinstance(ticket, Ticket) and all(other is None or other.done() for other in ticket.futures):
            self._desk.cancel([ticket])
            if ticket.on_done is not None:
                ticket.on_done(ticket)

    @property
    def waiting(self) -> int:
        """Calls that wait to travel."""
        return sum(len(line.calls) for line in self._lines.values())

    def abandon(self) -> list[Future[Any]]:
        """Takes out all calls that wait; returns their Futures."""
        with self._lock:
            calls = [call for line in self._lines.values() for call in line.calls]
            for line in self._lines.values():
                line.calls.clear()
        return [call.future for call in calls]

    def _send(self, line: _Line) -> None:
        tickets = [ticket for cut in self._cut(line) if (ticket := self._ticket(line, cut)) is not None]
        if tickets:
            try:
                self._desk.issue(tickets, priority=line.options.priority, delay=line.options.delay)
            except Exception as error:
                for ticket in tickets:
                    ticket.deliver(ticket.refuse(error))
                self.pump()  # no outcome will come that lets those go which wait

    def _cut(self, line: _Line) -> list[list[Call]]:
        cuts: list[list[Call]] = []
        with self._lock:
            line.pace.slots = self._desk.slots
            while line.calls:
                size = 1 if line.options.alone else line.pace.size(len(line.calls))
                depth = line.pace.depth(size)
                if line.out >= (depth if cuts else low_water(depth)) and not line.options.delay:
                    break
                if cut := self._take(line, size):
                    cuts.append(cut)
                    line.out += 1
        return cuts

    def _take(self, line: _Line, size: int) -> list[Call]:
        """Up to `size` calls that wait and are still wanted, of one code, and no more bytes than a job may have."""
        cut: list[Call] = []
        room = 0
        while line.calls and len(cut) < size:
            call = line.calls[0]
            if not call.future.dropped:
                if not cut:
                    room = self._maker.room(call.ref)
                elif call.ref.fingerprint != cut[0].ref.fingerprint or room < len(call.encoded):
                    break
                room -= len(call.encoded) + 1
                cut.append(call)
            line.calls.popleft()
        return cut

    def _ticket(self, line: _Line, cut: list[Call]) -> Ticket | None:
        """None if the store does not take what is too large for the broker; the callers have been told."""
        calls = b"[" + b",".join([call.encoded for call in cut]) + b"]"
        try:
            ticket = self._maker.make(cut[0].ref, calls, len(cut))
        except Exception as error:  # of ours, or no memory, no thread to be had: the sender goes on
            with self._lock:
                line.out -= 1
            for call in cut:
                call.future.fail(error)
            return None
        ticket.futures = [call.future for call in cut]
        per_item = line.pace.per_item
        ticket.expected = None if per_item is None else per_item * len(cut)
        for place, call in enumerate(cut):
            call.future.job = ticket
            if (row := call.row) is not None:
                ticket.rows.append(Row(row.op, row.lo, row.hi, row.digest, place))
        ticket.on_done = lambda ticket: self._ended(line, ticket)
        return ticket

    def _ended(self, line: _Line, ticket: Ticket) -> None:
        for future in ticket.futures:
            if future is not None:
                future.job = None
        with self._lock:
            line.out -= 1
            if ticket.seconds:
                line.pace.record(ticket.items, ticket.seconds)
