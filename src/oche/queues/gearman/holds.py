"""The jobs that a connection to Gearman takes and holds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from oche.errors import QueueFull
from oche.queues.gearman.line import CAN_DO, CANT_DO, PRE_SLEEP, RESET_ABILITIES, Assigned, Line, packet
from oche.queues.gearman.moves import BATCH, completion, losses, submission, transfer
from oche.queues.gearman.names import Label, functions
from oche.queues.gearman.wire import Conversation

#: Seconds between two looks at which delayed jobs are due, by each connection that reserves.
LOOK = 1.0
#: Seconds after which the emptied function of delayed or buried jobs is dropped.
EMPTY = 60.0
#: Seconds for a listing of all jobs above which it is long: then it is not asked for again for 20 times as long.
LONG = 0.01


@dataclass(slots=True, eq=False)
class Hold:
    """What a delivery stands for."""

    owner: Holds
    line: Line  #: the one that holds it
    job: Assigned
    label: Label
    until: float  #: the lease ends
    lost: int | None = None  #: holders that this copy lost before; None until somebody asks

    @property
    def attempts(self) -> int:
        return self.label.handed + (self.lost or 0) + 1


class Holds:
    """For use within `Conversation.talk`."""

    def __init__(self, wire: Conversation) -> None:
        self._wire = wire
        self._held: dict[bytes, Hold] = {}  # by handle
        self._watched: list[str] = []
        self._stream = 1  #: jobs that `take` may find ready at once
        self._next_look = 0.0
        self._losses: dict[bytes, int] = {}  # as of the last listing
        self._next_listing = 0.0

    def has(self, hold: Hold) -> bool:
        """Whether it is held still."""
        return self._held.get(hold.job.handle) is hold

    def take(self, tubes: Sequence[str], limit: int, timeout: float) -> list[Hold]:
        """Up to `limit` jobs; it waits for the first of them only."""
        end = time.monotonic() + timeout
        self._watch(list(tubes))
        self._look()
        got = self._grab(limit)
        if not got and time.monotonic() < end:
            got = self._wait(limit, end)
        return got

    def end(self, holds: Iterable[Hold], *, now: bool = True) -> None:
        """These jobs are done. Others see it at once, or with the next answer of the server."""
        lines: dict[Line, list[bytes]] = {}
        for hold in holds:
            if self._held.pop(hold.job.handle, None) is not None:
                lines.setdefault(hold.line, []).append(completion(hold.job.handle))
        for line, packets in lines.items():
            if now or line is not self._wire.line:
                line.settle(*packets)
            else:
                line.send(*packets)
            if line is not self._wire.line and all(hold.line is not line for hold in self._held.values()):
                line.close()
                self._wire.lines.remove(line)

    def move(self, hold: Hold, function: str, *, handed: int, body: bytes | None = None) -> None:
        """A copy is put there, then the job is done here: whoever dies between the two leaves it twice."""
        self._wire.line.put([submission(function, hold.label.again(handed), hold.job.body if body is None else body)])
        self.end([hold])

    def end_leases(self) -> None:
        """Gives back what is held for too long."""
        now = time.monotonic()
        for hold in [hold for hold in self._held.values() if hold.until <= now]:
            self.count_losses([hold])
            with suppress(QueueFull):  # it stays held until there is room
                self.move(hold, hold.job.function, handed=hold.attempts)

    def count_losses(self, holds: Iterable[Hold]) -> None:
        """From now on their `attempts` are right, or, where there are very many jobs, were so a moment ago."""
        unknown = [hold for hold in holds if hold.lost is None]
        if not unknown:
            return
        began = time.monotonic()
        if began >= self._next_listing:
            self._losses = losses(self._wire.line)
            took = time.monotonic() - began
            self._next_listing = began + 20 * took if took > LONG else 0.0
        for hold in unknown:
            hold.lost = self._losses.get(hold.job.handle, 0)

    # --- what they stand on

    def _watch(self, tubes: list[str]) -> None:
        if tubes == self._watched:
            return
        line = self._wire.line
        if kept := {hold.job.function for hold in self._held.values() if hold.line is line}:
            line.send(*[packet(CANT_DO, tube.encode()) for tube in self._watched if tube not in kept])
            line = self._wire.add()
        # The server looks first at what it was told last.
        line.send(packet(RESET_ABILITIES), *[packet(CAN_DO, tube.encode()) for tube in reversed(tubes)])
        self._watched, self._next_look = tubes, 0.0

    def _grab(self, limit: int) -> list[Hold]:
        """What is ready now. To ask in vain costs little, but not nothing: it asks for as many as came before."""
        asked = max(1, min(self._stream, limit, BATCH))
        line, now = self._wire.line, time.monotonic()
        got: list[Hold] = []
        for job in line.grab(asked):
            label = Label.of(job.unique)
            got.append(Hold(self, line, job, label, now + label.lease))
            self._held[job.handle] = got[-1]
        self._stream = 2 * asked if len(got) == asked else max(1, len(got))
        return got

    def _wait(self, limit: int, end: float) -> list[Hold]:
        line, sleep = self._wire.line, packet(PRE_SLEEP)
        waiting = [f"{tube}:waiting".encode() for tube in self._watched]
        line.send(*[packet(CAN_DO, function) for function in waiting], sleep)
        got: list[Hold] = []
        # The bell rings for all that wait; or for one, if the server is told so, which may die before it comes.
        while not got and (left := end - time.monotonic()) > 0.0:
            line.rung(min(left, max(0.0, self._next_look - time.monotonic())))
            self._look()
            got = self._grab(limit)
            if not got:
                line.send(sleep)
        line.settle(*[packet(CANT_DO, function) for function in waiting])
        return got

    def _look(self) -> None:
        """Brings in what was delayed and is due, when it is time to look."""
        if time.monotonic() < self._next_look:
            return
        now, wait = time.time(), LOOK
        for function in functions(self._wire.line.list("status")):
            if function.tube in self._watched and function.kind == "delay" and function.queued:
                if function.at <= now:
                    transfer(self._wire, function, function.tube, function.queued)
                else:
                    wait = min(wait, function.at - now)
            if function.idle and 0.0 < function.at < now - EMPTY:
                self._wire.line.tell(f"drop function {function.name}")
        self._next_look = time.monotonic() + wait
