"""The client's desk: it puts jobs, keeps a ticket for each, and takes their outcomes in.

    issue(tickets): journal -> ledger -> broker            (the caller's thread, or the inbox's)
    inbox thread:   broker -> ticket (first answer of each call) -> journal -> waiting callers -> delete

An outcome is deleted only after it was written down and handed on. Now and then the inbox looks at the work
tube and puts jobs again that are late or lost (`backup`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from typing import Any

from oche.cluster.answers import echo, loss, read_outcome, whole
from oche.cluster.backup import Backup
from oche.cluster.future import Future
from oche.cluster.journal import Journal
from oche.cluster.lacking import Lacking
from oche.cluster.ticket import Ticket
from oche.errors import (
    BadSignature,
    Broken,
    Closed,
    JournalError,
    OcheError,
    QueueError,
    QueueFull,
    StoreError,
    WireError,
)
from oche.queues.link import Link
from oche.queues.seam import DEFAULT_LEASE, DEFAULT_PRIORITY, Delivery, Queue
from oche.stores.seam import Store
from oche.wire.codec import decode_values
from oche.wire.job import decode_job
from oche.wire.names import Farm
from oche.wire.outcome import Outcome
from oche.wire.signing import Signer

log = logging.getLogger("oche")

#: Seconds that the inbox waits for an outcome while nothing is out (one broker operation each time) ...
IDLE = 5.0
#: ... and between two looks at the work tube while something is.
LOOK = 0.5
#: Leases that a job is taken to last of which nobody knows, where no lease takes it from a holder that fell silent.
UNKNOWN = 10.0
#: Seconds without a worker before the client says so.
LONELY = 3.0
#: Seconds that a closing client waits for a verb of another thread, before it leaves without a word to the broker.
FAREWELL = 1.0
#: How often a job is put again because something of it was lost in the store; then its caller is told.
LOSSES = 3
#: Outcomes taken in one go.
BATCH = 256


class Desk:
    """Everything the client has with the broker. Thread-safe."""

    def __init__(
        self, queue: Queue, signer: Signer, farm: Farm, run: str, *, slots: int, journal: Journal | None,
        store: Store | None = None,
    ) -> None:  # fmt: skip
        self.signer, self.farm, self.run, self.journal = signer, farm, run, journal
        self.slots = slots  #: slots that watch the work tube, as last seen
        self.traits, self.lacking = queue.traits, Lacking(queue.traits)
        self.workers: set[str] = set()  #: "host:pid" of those that answered
        self.on_progress: Callable[[], None] = lambda: None  #: called by the inbox after each batch of outcomes
        self.on_end: Callable[[Ticket], None] = lambda ticket: None  #: called once a job is over
        self.on_loss: Callable[[Ticket], None] = lambda ticket: None  #: called before it is put again for lost values
        self._store = store
        self.reply = farm.reply(run)
        self.lease = DEFAULT_LEASE  #: seconds; jobs are put with it and name it, so that their holder renews it in time
        self._tickets: dict[str, Ticket] = {}
        self._lock = threading.RLock()  # guards _tickets, the journal and the ledger part of every ticket
        self._empty = threading.Condition(self._lock)
        self._closing = threading.Event()
        self._sending = threading.RLock()  # guards _post
        self._post = Link(queue, "the client", closing=self._closing)
        self._mail = Link(queue.clone(), "the client's inbox", closing=self._closing)
        self._backup = Backup(None if queue.traits.leases else UNKNOWN * self.lease)
        self._broken: OcheError | None = None
        self._lonely_since: float | None = None
        self._asked: deque[Callable[[], None]] = deque()  #: by `soon`, not yet done
        self._raised: set[str] = set()  #: signals of ours that are up
        self._life = queue.life  #: of the broker that has what is out
        self._refused = False  #: the broker had no room when jobs were to be put again
        try:
            self._adopt_journal()
            self._look()
        except BaseException:
            self._mail.close()
            raise
        self._inbox = threading.Thread(target=self._serve, name="oche-inbox", daemon=True)
        self._inbox.start()

    # --- jobs out

    def issue(self, tickets: list[Ticket], *, priority: int | None = None, delay: float = 0.0) -> None:
        """Writes the jobs down, then puts them. Raises what the broker or the journal says; then none is out."""
        self._do_asked()
        now = time.monotonic()
        with self._lock:
            self.check()
            if self.journal is not None:
                self.journal.begin((ticket.job.id, ticket.body, ticket.rows) for ticket in tickets)
            for ticket in tickets:
                ticket.put_at, ticket.due_at, ticket.copies = now, now + delay, 1
                self._tickets[ticket.job.id] = ticket
        try:
            self._put([ticket.body for ticket in tickets], priority=priority, delay=delay, lease=self.lease)
        except BaseException:
            self.forget(tickets)
            raise

    def cancel(self, tickets: Iterable[Ticket]) -> None:
        """Forgets these jobs and tells the workers to give them up."""
        stopped = self.forget(tickets)
        if not stopped or not self.lacking.stop():
            return
        for ticket in stopped:
            name = self.farm.stop_job(ticket.job.id)
            try:
                self._ask(lambda queue, name=name: queue.signal(name))  # type: ignore[misc]
                self._raised.add(name)
            except QueueError as error:
                log.warning("job %s could not be told to stop: %s", ticket.job.id, error)
                return

    def soon(self, action: Callable[[], None]) -> None:
        """Leaves it to the inbox, or to whoever calls next, within `LOOK` seconds while jobs are out.

        For finalizers: the garbage collector runs them in any thread, in the midst of any verb, so that they may
        neither lock nor talk to the broker.
        """
        self._asked.append(action)

    def _do_asked(self) -> None:
        while True:
            try:
                action = self._asked.popleft()
            except IndexError:
                return
            action()

    def forget(self, tickets: Iterable[Ticket]) -> list[Ticket]:
        """Drops jobs from the ledger, so that their outcomes are ignored; returns those that were out."""
        with self._lock:
            out = [ticket for ticket in tickets if self._tickets.pop(ticket.job.id, None) is not None]
            if self.journal is not None and out:
                self.journal.finish([], [ticket.job.id for ticket in out])
            self._empty.notify_all()
        for ticket in out:
            self.on_end(ticket)
        return out

    def resume(self, op: bytes, future: Future[Any], claim: Callable[[Ticket], bool]) -> bool:
        """Whether an earlier life of this run has this call's value, or has it under way; the Future then gets it.

        `claim` says whether what the job names in the store can be had; else the call is to be put anew.
        """
        assert self.journal is not None
        with self._lock:
            known = next(iter(self.journal.known(op)), None)
            if known is None:
                return False
            if known.value is not None:
                future.resolve(decode_values(known.value, trusted=True)[0])
                return True
            ticket = self._claimed(known.job, claim)
            if ticket is None:
                return False
            if not ticket.futures:
                ticket.futures = [None] * ticket.job.count
            ticket.futures[known.row.first] = future
            if ticket.arrived and known.row.first in ticket.arrived:
                ticket.deliver([known.row.first])
            return True

    def resume_piece(
        self, op: bytes, lo: int, on_done: Callable[[Ticket], None], claim: Callable[[Ticket], bool]
    ) -> Ticket | list[Any] | None:
        """What an earlier life of this run has of a piece: its values, or the ticket it is under way with."""
        assert self.journal is not None
        with self._lock:
            known = next((known for known in self.journal.known(op) if known.row.lo == lo), None)
            if known is None:
                return None
            if known.value is not None:
                return decode_values(known.value, trusted=True)
            ticket = self._claimed(known.job, claim)
            if ticket is not None:
                ticket.lo, ticket.on_done = lo, on_done
            return ticket

    def _claimed(self, job: str, claim: Callable[[Ticket], bool]) -> Ticket | None:
        ticket = self._tickets.get(job)
        if ticket is None or claim(ticket):
            return ticket
        self._drop(ticket)
        return None

    def _drop(self, ticket: Ticket) -> None:
        """Forgets a job of an earlier life that nobody has asked for yet: it is made anew when somebody does."""
        self._tickets.pop(ticket.job.id, None)
        if self.journal is not None:
            self.journal.finish([], [ticket.job.id])
        self._empty.notify_all()

    @property
    def outstanding(self) -> int:
        """Jobs that are out."""
        return len(self._tickets)

    def be_patient(self, seconds: float) -> None:
        """From now on a lost broker is given up after so long, and with it all that is out."""
        self._post.patience = self._mail.patience = seconds

    def wait_empty(self) -> None:
        """Returns when no job is out."""
        self._do_asked()
        with self._empty:
            while self._tickets and not self._closing.is_set():
                self._empty.wait(1.0)

    def check(self) -> None:
        """Raises what broke the cluster, if anything did."""
        if self._broken is not None:
            raise self._broken
        if self._closing.is_set():
            raise RuntimeError("cannot schedule new futures after shutdown")

    def break_down(self, error: OcheError) -> None:
        """Fails everything that is out, and all that is asked from now on."""
        with self._lock:
            self._broken = error
            tickets = list(self._tickets.values())
            self._tickets.clear()
            self._empty.notify_all()
        for ticket in tickets:
            ticket.deliver(ticket.refuse(error))
        self.on_progress()

    def close(self) -> None:
        """Ends both connections and the inbox; what belongs to an unnamed run is swept."""
        with self._lock:
            if self._closing.is_set():
                return
            left = list(self._tickets.values())
            if self.journal is None:  # a named run finds its jobs again
                self._tickets.clear()
        if self._sending.acquire(timeout=FAREWELL):  # else somebody is in a verb, and the broker does not answer
            try:
                self._sweep(leaving=bool(left or self._raised) and self.journal is None)
            finally:
                self._sending.release()
        self._closing.set()
        self._mail.close()
        if threading.current_thread() is not self._inbox:
            self._inbox.join(10.0)
        if self.journal is None:
            self._empty_reply()
        self._post.close()
        if self.journal is not None:
            self.journal.close()
        for ticket in left:
            ticket.deliver(ticket.refuse(CancelledError("the cluster was shut down before this call had an answer")))

    # --- the broker

    def _put(self, bodies: list[bytes], *, priority: int | None, delay: float = 0.0, lease: float) -> None:
        urgency = DEFAULT_PRIORITY if priority is None else priority
        self._ask(lambda queue: queue.put_many(self.farm.work, bodies, priority=urgency, delay=delay, lease=lease))

    def _ask(self, verb: Callable[[Queue], Any]) -> Any:
        with self._sending:
            return self._post.call(verb)

    def _sweep(self, *, leaving: bool) -> None:
        """Takes our signals down; `leaving` raises one for the whole run, which the workers sweep with its outcomes."""
        try:
            if leaving and self.traits.signal:
                self._post.queue.signal(self.farm.stop_run(self.run))
            for name in self._raised:
                self._post.queue.unsignal(name)
        except QueueError as error:
            log.info("the broker could not be told that the client leaves: %s", error)

    def _empty_reply(self) -> None:
        """Deletes what came after the inbox had ended, and what it had no time to delete."""
        try:
            while got := self._post.queue.reserve_many([self.reply], BATCH, 0.0):
                self._post.queue.delete_many(got)
        except QueueError as error:
            log.info("the outcomes left in %s are for the workers to sweep: %s", self.reply, error)

    # --- outcomes in

    def _serve(self) -> None:
        next_look = time.monotonic() + LOOK
        got: list[Delivery] = []
        while not self._closing.is_set():
            try:
                got = self._mail.call(lambda queue, look=next_look, done=got: self._next(queue, look, done))  # type: ignore[misc]
                if got:
                    self._take_in(got)
                self._do_asked()
                if self._tickets and time.monotonic() >= next_look:
                    self._look()
                    next_look = time.monotonic() + LOOK
            except Closed:
                return
            except OcheError as error:
                if self._closing.is_set():
                    return
                self.break_down(error)
                return
            except Exception as error:  # whatever it is, nobody may wait for what will not come
                log.exception("the inbox failed")
                self.break_down(Broken(f"the client's inbox failed: {type(error).__name__}: {error}"))
                return

    def _next(self, queue: Queue, look: float, done: list[Delivery]) -> list[Delivery]:
        """The next outcomes; those that are `done` are deleted on the way (after a reconnection they are void).

        While jobs are out it waits until the next `look` at the most, also where it began to wait with none and then
        had to connect anew: the broker may have lost them.
        """
        wait = min(IDLE, max(0.0, look - time.monotonic())) if self._tickets else IDLE
        return queue.reserve_many([self.reply], BATCH, wait, done=done)

    def _take_in(self, got: list[Delivery]) -> None:
        fresh: list[tuple[Ticket, list[int]]] = []
        lost: list[tuple[Ticket, str]] = []
        unwritten: JournalError | None = None
        answers = [answer for delivery in got if (answer := self._read(delivery.body)) is not None]
        with self._lock:
            for outcome, refused, trusted in answers:
                ticket = self._tickets.get(outcome.job)
                if ticket is None:
                    continue
                if (reason := loss(outcome)) and not ticket.done and ticket.losses < LOSSES:
                    ticket.losses += 1
                    if ticket.asked:
                        lost.append((ticket, reason))
                    else:
                        self._drop(ticket)
                    continue
                if refused is None:
                    self.workers.add(outcome.worker.partition("/")[0])
                # One of another key brings no values, but it must not leave the caller waiting either.
                places = ticket.refuse(refused) if refused is not None else ticket.take(outcome, trusted=trusted)
                if places:
                    fresh.append((ticket, places))
            try:
                if self.journal is not None and fresh:
                    self._write_down(fresh)
            except JournalError as error:  # what is not written down is not delivered either
                unwritten = error
                for ticket, places in fresh:
                    ticket.errors.update(dict.fromkeys(places, error))
            for ticket, _ in fresh:
                if ticket.done:
                    self._tickets.pop(ticket.job.id, None)
            if not self._tickets:
                self._empty.notify_all()
        self._backup.progress()
        for ticket, places in fresh:
            echo(ticket)
            ticket.deliver(places)
            if ticket.done:
                self.on_end(ticket)
        for ticket, reason in lost:
            self._make_good(ticket, reason)
        if unwritten is not None:
            raise unwritten
        self.on_progress()

    def _read(self, data: bytes) -> tuple[Outcome, BadSignature | None, bool] | None:
        """As `read_outcome`, with values that came by way of the store; None for what is to be ignored."""
        try:
            outcome, refused, trusted = read_outcome(self.signer, data)
            return (outcome if refused is not None else whole(outcome, self._store)), refused, trusted
        except WireError as error:
            log.warning("an outcome in %s cannot be read and is dropped: %s", self.reply, error)
            return None

    def _make_good(self, ticket: Ticket, reason: str) -> None:
        """Puts a job again, with other references, since what it named, or what came of it, is in the store no more."""
        log.info("job %s is put again: %s", ticket.job.id, reason)
        try:
            self.on_loss(ticket)
        except StoreError as error:
            if self.forget([ticket]):
                ticket.deliver(ticket.refuse(error))
            return
        self._put_again([ticket])

    # --- the journal

    def _write_down(self, fresh: list[tuple[Ticket, list[int]]]) -> None:
        assert self.journal is not None
        values = [(ticket.job.id, *piece) for ticket, places in fresh for piece in ticket.finished(places)]
        self.journal.finish(values, [ticket.job.id for ticket, _ in fresh if ticket.done])

    def _adopt_journal(self) -> None:
        if self.journal is None:
            return
        for id_, data, rows in self.journal.under_way():
            body, _ = self.signer.open(data)
            ticket = Ticket(decode_job(body), data)
            ticket.rows, ticket.copies, ticket.put_at = rows, 1, time.monotonic()
            self._tickets[id_] = ticket
        self._life = self.journal.life()

    # --- the watch over what is out

    def _look(self) -> None:
        try:
            stats = self._ask(lambda queue: queue.stats(self.farm.work))
        except Closed:
            return
        self.slots = max(1, stats.watching) if stats.watching else self.slots
        self._say_if_lonely(stats.watching)
        life = self._post.queue.life
        with self._lock:
            out = list(self._tickets.values())
        if life != self._life:  # it has forgotten everything; whatever else is in the tube, it is not ours
            if self._put_again(out):
                self._lives(life)
        else:
            late = self._backup.again(out, stats, time.monotonic())
            self._put_again([ticket for ticket in late if isinstance(ticket, Ticket)])

    def _put_again(self, tickets: list[Ticket]) -> bool:
        """Whether the broker took them; else a later look tries again."""
        if tickets:
            log.info("putting %d jobs again that are late or lost", len(tickets))
        try:
            for ticket in tickets:
                rest = max(0.0, ticket.due_at - time.monotonic())
                self._put([ticket.body], priority=ticket.job.priority, delay=rest, lease=ticket.job.lease)
                ticket.copies += 1
                ticket.put_at = time.monotonic()
        except QueueFull as error:
            if not self._refused:
                log.warning("jobs that the broker lost cannot be put again yet: %s", error)
            self._refused = True
            return False
        self._refused = False
        return True

    def _lives(self, life: str) -> None:
        self._life = life
        if self.journal is not None:
            with self._lock:
                self.journal.moved(life)

    def _say_if_lonely(self, watching: int) -> None:
        if watching or not self._tickets:
            self._lonely_since = None
            return
        now = time.monotonic()
        if self._lonely_since is None:
            self._lonely_since = now
        elif 0 < now - self._lonely_since > LONELY:
            self._lonely_since = float("inf")
            log.warning("no worker watches %s; start one with `oche worker URL`", self.farm.work)
