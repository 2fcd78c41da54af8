"""What happens to jobs and connections inside one transaction of `SQLiteQueue`.

The invariant: no job is ready in a tube where a living connection waits. Whatever makes a job ready hands it to
the one that has waited longest, and remembers whose doorbell to ring once the transaction is on record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from oche.errors import TooLarge
from oche.queues.doorbell import alive
from oche.queues.seam import Peeked, State, TubeStats
from oche.queues.sqlite.file import QueueFile

#: Bytes of one body; what is larger belongs into a store.
MAX_BODY = 16 * 2**20

#: Of the states that can be looked at: which job is next.
_ORDER = {State.READY: "priority, id", State.DELAYED: "due, id", State.BURIED: "id"}


@dataclass(frozen=True, slots=True)
class Taken:
    """A job as this reserve took it."""

    id: int
    body: bytes
    reserves: int
    attempts: int


class Jobs:
    """All within a transaction of `file`; `clock`, for tests, stands for both clocks."""

    def __init__(self, file: QueueFile, *, clock: Callable[[], float] | None) -> None:
        self._execute = file.execute
        self.lease_clock = clock or time.monotonic  # immune to changes of the date
        self.delay_clock = clock or time.time  # goes on over a reboot
        self.to_ring: list[tuple[int, str]] = []  # connections that were handed a job, or should look up

    def add(self, tube: str, bodies: Sequence[bytes], priority: int, delay: float, lease: float) -> list[int]:
        state, due = (State.DELAYED, self.delay_clock() + delay) if delay > 0 else (State.READY, None)
        ids: list[int] = []
        for body in bodies:
            _check_size(body)
            row = (tube, priority, state, due, lease)
            sql = "INSERT INTO jobs (tube, priority, state, due, lease) VALUES (?, ?, ?, ?, ?)"
            id = self._execute(sql, row).lastrowid
            assert id is not None
            self._execute("INSERT INTO bodies VALUES (?, ?)", (id, body))
            ids.append(id)
        if due is not None:
            self._wake_all(tube)
        else:
            for id in ids:
                if not self._hand(id, tube):
                    break
        return ids

    def take(self, id: int, holder: int) -> Taken:
        """The ready, or just handed, job becomes the holder's."""
        (reserves, attempts), *_ = self._execute(
            "UPDATE jobs SET state = 'reserved', holder = ?, due = lease + ?, reserves = reserves + 1"
            " WHERE id = ? RETURNING reserves, reserves - releases",
            (holder, self.lease_clock(), id),
        ).fetchall()
        (body,) = self._execute("SELECT body FROM bodies WHERE id = ?", (id,)).fetchone()
        return Taken(id, body, reserves, max(1, attempts))

    def best(self, tubes: Sequence[str], limit: int) -> list[int]:
        """Ids of the most urgent ready jobs of these tubes."""
        sql = "SELECT priority, id FROM jobs WHERE tube = ? AND state = 'ready' ORDER BY priority, id LIMIT ?"
        found = [row for tube in dict.fromkeys(tubes) for row in self._execute(sql, (tube, limit))]
        return [id for _, id in sorted(found)[:limit]]

    def make_ready(self, id: int, *, delay: float = 0.0) -> None:
        """Gives the job to who waits for it, or leaves it ready, or ready after a delay."""
        (tube,) = self._execute("SELECT tube FROM jobs WHERE id = ?", (id,)).fetchone()
        if delay > 0:
            due = self.delay_clock() + delay
            self._execute("UPDATE jobs SET state = 'delayed', holder = NULL, due = ? WHERE id = ?", (due, id))
            self._wake_all(tube)
        elif not self._hand(id, tube):
            self._execute("UPDATE jobs SET state = 'ready', holder = NULL, due = NULL WHERE id = ?", (id,))

    def _hand(self, id: int, tube: str) -> bool:
        waiter = self._execute(
            "SELECT id, doorbell FROM watching JOIN connections ON id = connection"
            " WHERE tube = ? AND waiting IS NOT NULL ORDER BY waiting LIMIT 1",
            (tube,),
        ).fetchone()
        if waiter is None:
            return False
        self.take(id, waiter[0])
        self._execute("UPDATE connections SET waiting = NULL, handed = ? WHERE id = ?", (id, waiter[0]))
        self.to_ring.append(waiter)
        return True

    def _wake_all(self, tube: str) -> None:
        """A new delay in the tube: those who wait have to count anew when to look."""
        self.to_ring += self._execute(
            "SELECT id, doorbell FROM watching JOIN connections ON id = connection"
            " WHERE tube = ? AND waiting IS NOT NULL",
            (tube,),
        ).fetchall()

    def settle(self, tubes: Sequence[str]) -> None:
        """Lets the leases and delays of these tubes run out that are over."""
        for tube in tubes:
            for state, now in ((State.RESERVED, self.lease_clock()), (State.DELAYED, self.delay_clock())):
                sql = f"SELECT id FROM jobs WHERE tube = ? AND state = '{state}' AND due <= ? ORDER BY priority, id"
                for (id,) in self._execute(sql, (tube, now)).fetchall():
                    self.make_ready(id)

    def next_due(self, tubes: Sequence[str]) -> float:
        """Seconds until a lease or delay of these tubes is over."""
        soonest = float("inf")
        for tube in tubes:
            for state, now in ((State.RESERVED, self.lease_clock()), (State.DELAYED, self.delay_clock())):
                sql = f"SELECT min(due) FROM jobs WHERE tube = ? AND state = '{state}'"
                (due,) = self._execute(sql, (tube,)).fetchone()
                if due is not None:
                    soonest = min(soonest, due - now)
        return soonest

    # The verbs of a holder, and of who sweeps

    def holds(self, connection: int, id: int, reserves: int) -> bool:
        """Whether the connection holds the job by that very reserve, and its lease has not run out."""
        sql = "SELECT 1 FROM jobs WHERE id = ? AND state = 'reserved' AND holder = ? AND reserves = ? AND due > ?"
        return self._execute(sql, (id, connection, reserves, self.lease_clock())).fetchone() is not None

    def touch(self, id: int) -> None:
        self._execute("UPDATE jobs SET due = lease + ? WHERE id = ?", (self.lease_clock(), id))

    def release(self, id: int, delay: float) -> None:
        self._execute("UPDATE jobs SET releases = releases + 1 WHERE id = ?", (id,))
        self.make_ready(id, delay=delay)

    def bury(self, id: int, body: bytes | None) -> None:
        _check_size(body or b"")
        self._execute("UPDATE jobs SET state = 'buried', due = NULL, holder = NULL WHERE id = ?", (id,))
        if body is not None:
            self._execute("UPDATE bodies SET body = ? WHERE id = ?", (body, id))

    def delete(self, id: int) -> None:
        self._execute("DELETE FROM jobs WHERE id = ?", (id,))
        self._execute("DELETE FROM bodies WHERE id = ?", (id,))

    def discard(self, id: int) -> bool:
        """Deletes the job unless it is held."""
        found = self._execute("SELECT 1 FROM jobs WHERE id = ? AND state <> 'reserved'", (id,)).fetchone()
        if found is not None:
            self.delete(id)
        return found is not None

    def kick(self, tube: str, limit: int) -> int:
        """Makes buried jobs ready, or delayed ones if there are none; returns how many."""
        for state in (State.BURIED, State.DELAYED):
            sql = f"SELECT id FROM jobs WHERE tube = ? AND state = '{state}' ORDER BY {_ORDER[state]} LIMIT ?"
            ids = self._execute(sql, (tube, limit)).fetchall()
            for (id,) in ids:
                self.make_ready(id)
            if ids:
                return len(ids)
        return 0

    def peek(self, tube: str, state: State) -> Peeked | None:
        """The next of these jobs; none for reserved ones, which have no order."""
        if state not in _ORDER:
            return None
        sql = f"SELECT id, body FROM jobs JOIN bodies USING (id) WHERE tube = ? AND state = '{state}'"
        row = self._execute(f"{sql} ORDER BY {_ORDER[state]} LIMIT 1", (tube,)).fetchone()
        return None if row is None else Peeked(str(row[0]), row[1])

    # Connections

    def watch(self, connection: int, tubes: Sequence[str]) -> None:
        """From now on the connection watches exactly these tubes."""
        self._execute("DELETE FROM watching WHERE connection = ?", (connection,))
        for tube in tubes:
            self._execute("INSERT OR IGNORE INTO watching VALUES (?, ?)", (tube, connection))

    def wait(self, connection: int) -> bool:
        """The connection waits for a job to be handed to it; False if it is not known any more."""
        sql = "UPDATE connections SET waiting = ?, handed = NULL WHERE id = ?"
        return self._execute(sql, (time.monotonic(), connection)).rowcount == 1

    def wait_no_more(self, connection: int) -> list[Taken]:
        """The connection stops waiting; the job that was handed to it meanwhile, if any."""
        found = self._execute(
            "SELECT jobs.id, body, reserves, max(1, reserves - releases) FROM connections"
            " JOIN jobs ON jobs.id = handed JOIN bodies ON bodies.id = handed"
            " WHERE connections.id = ? AND holder = ? AND due > ?",
            (connection, connection, self.lease_clock()),
        ).fetchall()
        self._execute("UPDATE connections SET waiting = NULL, handed = NULL WHERE id = ?", (connection,))
        return [Taken(*row) for row in found]

    def was_handed(self, connection: int) -> bool:
        """Whether a job waits for the connection to look up."""
        sql = "SELECT 1 FROM connections WHERE id = ? AND handed IS NOT NULL"
        return self._execute(sql, (connection,)).fetchone() is not None

    def holders(self, tubes: Sequence[str]) -> dict[int, str | None]:
        """Doorbells of the connections that hold jobs of these tubes; None for one that is not known any more."""
        sql = (
            "SELECT DISTINCT holder, doorbell FROM jobs LEFT JOIN connections ON connections.id = holder"
            " WHERE tube = ? AND state = 'reserved'"
        )
        return {holder: bell for tube in tubes for holder, bell in self._execute(sql, (tube,))}

    def bury_dead(self, tubes: Sequence[str] | None = None) -> bool:
        """Forgets the dead among the holders of these tubes, or among all connections; True if there were any."""
        known = dict(self._execute("SELECT id, doorbell FROM connections")) if tubes is None else self.holders(tubes)
        dead = [connection for connection, bell in known.items() if bell is None or not alive(bell)]
        for connection in dead:
            self.forget(connection)
        return bool(dead)

    def forget(self, connection: int) -> None:
        """The connection is gone: what it held is ready again."""
        self._execute("DELETE FROM watching WHERE connection = ?", (connection,))
        self._execute("DELETE FROM connections WHERE id = ?", (connection,))
        sql = "SELECT id FROM jobs WHERE state = 'reserved' AND holder = ? ORDER BY priority, id"
        for (id,) in self._execute(sql, (connection,)).fetchall():
            self.make_ready(id)

    # For onlookers

    def stats(self, tube: str) -> TubeStats:
        def count(state: State) -> int:
            sql = f"SELECT count(*) FROM jobs WHERE tube = ? AND state = '{state}'"
            number: int = self._execute(sql, (tube,)).fetchone()[0]
            return number

        watching, waiting = self._execute(
            "SELECT count(*), count(waiting) FROM watching JOIN connections ON id = connection WHERE tube = ?", (tube,)
        ).fetchone()
        return TubeStats(
            ready=count(State.READY),
            reserved=count(State.RESERVED),
            delayed=count(State.DELAYED),
            buried=count(State.BURIED),
            watching=watching,
            waiting=waiting,
        )

    def tubes(self, prefix: str) -> list[str]:
        """Names that begin so, of tubes with a job or a watcher: from name to name along the indices."""
        names: set[str] = set()
        for source in (*(f"jobs WHERE state = '{state}' AND" for state in State), "watching WHERE"):
            after = prefix
            while True:
                (name,) = self._execute(f"SELECT min(tube) FROM {source} tube >= ?", (after,)).fetchone()
                if name is None or not name.startswith(prefix):
                    break
                names.add(name)
                after = name + "\x01"  # no name goes on with that
        return sorted(names)


def _check_size(body: bytes) -> None:
    if len(body) > MAX_BODY:
        raise TooLarge(f"the body has {len(body)} bytes, over the limit of {MAX_BODY}; send a reference into a store")
