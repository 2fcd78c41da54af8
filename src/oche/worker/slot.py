"""A slot: one thread of the parent, one child, one connection; it takes jobs, has them run, and answers.

    reserve -> verify -> child runs, lease renewed -> outcome put -> job deleted

The outcome, or the jobs that replace this one, are always put before the job is deleted: a crash between the
two makes a duplicate, never a loss.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable

import msgspec

from oche.errors import BadMessage, BadSignature, Closed, Disconnected, LeaseLost, OcheError, QueueError, WireError
from oche.queues.link import Link
from oche.queues.seam import DEFAULT_LEASE, Delivery
from oche.wire.job import Job, decode_job
from oche.wire.signing import Signer
from oche.worker import frames
from oche.worker.answering import Answers, Work
from oche.worker.hand import Hand
from oche.worker.holding import Hold
from oche.worker.options import WorkerOptions
from oche.worker.pace import Pace
from oche.worker.splitting import attempts_of
from oche.worker.sweep import Sweeper
from oche.worker.trial import TICK, How, Verdict, attend
from oche.worker.values import Values
from oche.worker.watch import Watch

log = logging.getLogger("oche")

#: Seconds that an idle slot waits in one reserve.
IDLE_WAIT = 30.0
#: Seconds before a slot asks again for a job where the broker refused to give one.
REST = 1.0
#: Seconds that a child may take to start; with an initializer, which may load a model, more.
START_LIMIT, INITIALIZER_LIMIT = 60.0, 3600.0
#: Deaths in a row, before a child was ready or before it began a job, that are no accident ...
DEATHS = 3
#: ... and so many at its start by SIGKILL, which comes from outside: a person, or the out-of-memory killer.
KILLS = 10


class Unfit(OcheError):
    """The children of this worker cannot start; the message says why."""


class Slot:
    """Runs in its own thread from `run` to the end. The watch and the worker look in from theirs."""

    def __init__(
        self,
        number: int,
        name: str,
        *,
        link: Link,
        closing: threading.Event,
        signer: Signer,
        options: WorkerOptions,
        spawn: Callable[[frames.Setup], Hand],
        watch: Watch,
        sweeper: Sweeper,
        values: Values,
    ) -> None:
        host, pid, slots = name.rsplit(".", 2)
        self._setup = frames.Setup(
            worker=f"{host}:{pid}/{number}",
            slots=int(slots),
            path=options.path,
            modules=options.modules,
            initializer=options.initializer or b"",
        )
        self._tubes = (options.farm.work, options.farm.node(name))
        self._link = link
        self._closing = closing  # end now; also what ends the link's waits
        self._signer = signer
        self._options = options
        self._new_child = spawn
        self._watch = watch
        self._sweeper = sweeper
        self._answers = Answers(link, closing, signer, options, self._setup.worker, values)
        self._pace = Pace()
        self._behind: deque[Hold] = deque()  # taken; the first of them runs
        self._done: list[Delivery] = []  # to be deleted with the next reserve
        self._child: Hand | None = None
        self._lock = threading.Lock()  # guards what other threads read or change: these four
        self._job: Job | None = None
        self._off_since: float | None = None
        self._reserving = True
        self._leaving = False

    @property
    def job(self) -> Job | None:
        """The job that runs, or None."""
        return self._job

    def call_off(self, job: Job) -> None:
        """Sets the stop byte, if it is still this job that runs. From any thread."""
        with self._lock:
            if self._job is job and self._off_since is None and self._child is not None:
                self._off_since = time.monotonic()
                self._child.page.stop[0] = 1

    def leave(self, *, now: bool) -> None:
        """Takes no more jobs; `now` ends the running one too and hands it back. From any thread."""
        with self._lock:
            self._leaving = True
            if now or self._reserving:
                self._closing.set()
            if self._reserving:
                self._link.close()

    def run(self) -> None:
        """Serves until it is told to leave. Raises `Unfit` if no child can start."""
        try:
            self._spawn()
            while not self._leaving:
                self._turn()
        except Closed:
            pass
        finally:
            if self._child is not None and not self._closing.is_set():
                self._child.close()
            elif self._child is not None:
                self._child.kill()
            self._end_done()
            self._link.close()

    def _turn(self) -> None:
        """Waits for a job, or some short ones, and sees them through."""
        if not self._is_ready():
            self._end_done()  # what follows takes a while
        child = self._ready_child(None)
        with self._lock:
            if self._leaving:
                return
            self._reserving = True
        done, self._done = self._done, []
        try:
            taken = self._link.queue.reserve_many(self._tubes, self._pace.appetite, IDLE_WAIT, done=done)
            if not taken:
                child.wait(0.0)
                self._sweeper.sweep(self._link.queue)
                return
            holds = [Hold(self._link, delivery, DEFAULT_LEASE) for delivery in taken]
            if len(taken) == 1:
                self._link.queue.foresee(taken[0])
            else:
                for hold, attempts in zip(holds, self._link.queue.attempts_many(taken), strict=True):
                    hold.deliveries, hold.held = attempts, attempts > 0
        except Disconnected as error:
            self._link.reopen(error)
            return
        except Closed:
            raise
        except QueueError as error:  # a full disk, a lock that somebody holds: it may pass
            log.warning("%s cannot take a job (%s); trying again", self._setup.worker, error)
            self._done = done
            self._closing.wait(REST)
            return
        finally:
            with self._lock:
                self._reserving = False
        self._behind.extend(holds)
        try:
            self._see_through()
        except (Closed, Unfit):
            self._give_back()
            raise
        except Exception as error:
            # Whatever this is, the next job must not suffer. Without its connection the job is ready again,
            # and the attempt counts.
            log.exception("%s failed at a job", self._setup.worker)
            if self._child is not None:
                self._child.kill()  # it may still run this job, and its reply must not pass for another's
            self._link.reopen(error)
            self._give_back()

    def _see_through(self) -> None:
        while self._behind:
            hold = self._behind[0]
            if hold.held and not (self._leaving and self._pace.begun):
                began = time.monotonic()
                self._handle(hold)
                self._pace.record(time.monotonic() - began)
            elif hold.held:
                hold.release()
            self._behind.popleft()
        self._pace.begun = 0
        self._done += self._answers.flush()

    def _renew(self, now: float) -> None:
        """Called now and then while a job runs, after some 0.1 s for the first time: it is not a short one."""
        current = self._behind[0]
        current.renew(now)
        while len(self._behind) > 1:
            self._behind.pop().release()
        if self._answers.waiting:
            self._done += self._answers.flush()
        self._end_done()

    def _end_done(self) -> None:
        """Deletes what is done, without waiting for the next reserve."""
        done, self._done = self._done, []
        if done:
            with contextlib.suppress(QueueError):  # it is done again elsewhere, then
                self._link.queue.delete_many(done)

    def _give_back(self) -> None:
        """Hands back what was taken and is not done."""
        self._answers.abandon()
        while self._behind:
            self._behind.popleft().release()

    def _handle(self, hold: Hold) -> None:
        try:
            body, signed = self._signer.open(hold.body)
            job = decode_job(body)
            self._check(job, signed)
            hold.lasts(job.lease)
        except WireError as error:
            self._answers.refuse(hold, error)
            return
        if self._called_off(job):
            hold.delete()
            return
        try:
            deliveries = hold.attempts()
        except LeaseLost:
            return
        except Disconnected as error:
            self._link.reopen(error)
            return
        if job.reason:  # it was buried, and a person kicked it: what ended badly before does not count
            job = msgspec.structs.replace(job, attempt=0, reason="")
        work = Work(job, body, signed, job.attempt + deliveries, attempts_of(job), hold)
        try:
            if deliveries > 1 and job.count > 1:
                self._answers.scatter(work)
            elif work.attempt > work.limit:
                self._answers.lost(work)
            else:
                self._answer(work, self._try(work))
        except BadMessage as error:  # the calls are not what the job says
            self._answers.refuse(hold, error)

    def _check(self, job: Job, signed: bool) -> None:
        if not signed and not self._options.unsigned:
            raise BadSignature(
                f"job {job.id!r} is unsigned, and this worker takes signed jobs only; give its sender the key "
                "(`oche key`, OCHE_KEY), or start the worker with --unsigned and the modules it may run"
            )
        if not job.reply.startswith(self._options.farm.reply_prefix):
            prefix = self._options.farm.reply_prefix
            raise BadMessage(f"job {job.id!r} wants its outcome in {job.reply!r}, which is no tube under {prefix!r}")

    def _called_off(self, job: Job) -> bool:
        """Whether a signal says so; asked again before it costs somebody a job, for the watch may be behind."""
        if not self._watch.signals:
            return False
        farm = self._options.farm
        names = {farm.stop_job(job.id), farm.stop_run(job.run)}
        if names.isdisjoint(self._watch.signals):
            return False
        try:
            return not names.isdisjoint(self._link.queue.signals(farm.stop_prefix))
        except Disconnected:
            return False

    def _try(self, work: Work) -> Verdict:
        """Runs the job in a child that is fresh enough for it."""
        stale, deaths = False, 0
        while True:
            child = self._ready_child(work.hold)
            verdict = self._attempt(child, work)
            if verdict.how is How.NOT_BEGUN and deaths < DEATHS:
                deaths += 1
            elif verdict.frame is not None and verdict.frame.kind == frames.STALE and not stale:
                stale = True
                self._replace()
            else:
                return verdict

    def _attempt(self, child: Hand, work: Work) -> Verdict:
        child.give(work.body, work.attempt, trusted=work.signed)
        with self._lock:
            self._off_since = None
            self._job = work.job
        self._watch.wake()
        try:
            return attend(
                child,
                self._renew,
                timeout=work.job.timeout,
                memory_limit=self._options.memory_limit,
                called_off=lambda: self._off_since,
                closing=self._closing,
            )
        finally:
            with self._lock:
                self._job = None

    def _answer(self, work: Work, verdict: Verdict) -> None:
        child = self._child
        assert child is not None
        output = child.output() if child.stdout or child.stderr else []
        last_words = child.stderr.last_lines(10) if child.end is not None else ""
        if child.end is not None and not self._leaving:
            self._spawn()  # it starts while we answer
        self._answers.answer(work, verdict, output=output, last_words=last_words)
        options = self._options
        if child.end is None and (
            (options.max_jobs is not None and child.jobs >= options.max_jobs)
            or (options.max_rss is not None and child.resident() > options.max_rss)
        ):
            self._replace()

    def _replace(self) -> None:
        """A fresh child in the place of an idle one."""
        if self._child is not None:
            self._child.close()
        self._spawn()

    def _spawn(self) -> None:
        self._child = self._new_child(self._setup)

    def _is_ready(self) -> bool:
        return self._child is not None and self._child.ready and self._child.end is None

    def _ready_child(self, hold: Hold | None) -> Hand:
        """The child, once it is ready for a job; a dead one is replaced. Raises `Unfit`, `Closed`."""
        child = self._child
        assert child is not None
        if self._is_ready():
            return child
        limit = INITIALIZER_LIMIT if self._setup.initializer else START_LIMIT
        until = time.monotonic() + limit
        deaths = 0
        while not child.ready or child.end is not None:
            now = time.monotonic()
            if self._closing.is_set() or (self._leaving and hold is None):
                raise Closed("the worker ends")
            if child.reply is not None and child.reply.kind == frames.UNFIT:
                failure = frames.decode_failure(child.reply.body)
                raise Unfit(f"the initializer failed: {failure.exception} {failure.message}\n{failure.traceback}")
            if child.end is not None:
                if not child.ready:
                    deaths += 1
                    log.warning("a child ended by %s while it started", child.end.signal)
                if deaths >= (KILLS if child.end.signal == "SIGKILL" else DEATHS):
                    said = child.stderr.last_lines(10)
                    raise Unfit(f"a child ended by {child.end.signal} at each of {deaths} starts; it said: {said}")
                self._spawn()
                child = self._child
                assert child is not None
            elif now > until:
                raise Unfit(f"a child was not ready after {limit:g} s")
            child.wait(TICK)
            if hold is not None:
                self._renew(now)
        return child
