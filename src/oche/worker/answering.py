"""What follows from an attempt: outcomes for the caller, jobs put back, and the end of the job itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from oche.errors import ConfigError, Disconnected, StoreError, TooLarge, WireError
from oche.queues.link import Link
from oche.queues.seam import Delivery
from oche.wire.job import Job, encode_job
from oche.wire.outcome import Cause, Failure, Outcome, decode_outcome, encode_outcome
from oche.wire.signing import Signer
from oche.worker import frames, splitting
from oche.worker.holding import Hold, Mail
from oche.worker.options import WorkerOptions
from oche.worker.trial import How, Verdict
from oche.worker.values import Values

log = logging.getLogger("oche")

#: Seconds until another node may take a job whose code this one lacks.
ELSEWHERE = 0.5
_AGAIN = (Cause.RAISED, Cause.TIMEOUT)


class Work(NamedTuple):
    """A job in a slot's hands."""

    job: Job
    body: bytes  #: the job as it came, without its signature
    signed: bool
    attempt: int  #: this one, counted from 1
    limit: int  #: attempts in all for a call that kills its process
    hold: Hold

    @property
    def store(self) -> str:
        """URL of the store for what is too large; only a signed job is believed."""
        return self.job.store if self.signed else ""


class _Lenient(msgspec.Struct):
    """What can be read of a job that cannot be taken."""

    id: str
    reply: str
    run: str = ""
    count: int = 1
    first: int = 0


class Answers:
    """Puts what must be put, then ends the job. Every verb raises `Closed` when the worker ends meanwhile."""

    def __init__(
        self, link: Link, closing: threading.Event, signer: Signer, options: WorkerOptions, worker: str, values: Values
    ) -> None:
        self._link = link
        self._signer = signer
        self._farm = options.farm
        self._slots = options.slots
        self._worker = worker
        self._mail = Mail(link, closing)
        self._values = values
        self._waiting: list[tuple[Work, bytes]] = []  # outcomes that will be put together

    @property
    def waiting(self) -> bool:
        """Whether outcomes wait to be put."""
        return bool(self._waiting)

    def flush(self) -> list[Delivery]:
        """Puts the outcomes that wait; returns the deliveries of their jobs, which may be deleted now."""
        for reply in {work.job.reply for work, _ in self._waiting}:
            group = [(work, body) for work, body in self._waiting if work.job.reply == reply]
            try:
                self._mail.put(group[0][0].hold, reply, [self._signer.seal(body) for _, body in group])
            except TooLarge:
                for work, body in group:
                    self._send(work.hold, reply, body, work.store)
        done = [delivery for work, _ in self._waiting if (delivery := work.hold.finish()) is not None]
        self._waiting.clear()
        return done

    def abandon(self) -> None:
        """Gives back the jobs whose outcomes could not be put."""
        for work, _ in self._waiting:
            work.hold.release()
        self._waiting.clear()

    def answer(self, work: Work, verdict: Verdict, *, output: list[tuple[str, str]], last_words: str) -> None:
        """Does what the verdict asks for; `output` is what the job printed, `last_words` the end of its stderr.

        An outcome with nothing special about it waits for `flush`.
        """
        how = verdict.how
        if how is How.REPLIED:
            assert verdict.frame is not None
            self._replied(work, verdict.frame, output)
        elif how is How.ENDING:
            work.hold.release()
        elif how is How.INTERRUPTED:
            # A service manager signals children and parent alike; do not take it again just before we are told.
            work.hold.release(delay=1.0)
        elif how is How.CALLED_OFF:
            failure = Failure(cause=Cause.CANCELLED, message="a signal told the worker to stop", attempts=work.attempt)
            self._fail(work, failure, output)
            work.hold.delete()
        elif how is How.OVERTIME:
            self._overtime(work, verdict, output)
        else:
            self._crashed(work, verdict, output, last_words)

    def _replied(self, work: Work, frame: frames.Frame, output: list[tuple[str, str]]) -> None:
        kind = frame.kind
        if kind == frames.DONE and not output:
            self._waiting.append((work, bytes(frame.body)))
        elif kind in (frames.DONE, frames.MIXED):
            outcome = msgspec.structs.replace(decode_outcome(bytes(frame.body)), output=output)
            self._settle(work, outcome)
        elif kind == frames.STALE:
            message = bytes(frame.body).decode(errors="replace")
            self._missing(work, Failure(cause=Cause.WRONG_CODE, message=message, attempts=work.attempt))
        elif kind == frames.MISSING:
            self._missing(work, frames.decode_failure(frame.body))
        else:
            failure = frames.decode_failure(frame.body)
            log.warning("refused job %s: %s", work.job.id, failure.message)
            self._fail(work, failure, output)
            work.hold.bury()

    def _settle(self, work: Work, outcome: Outcome) -> None:
        """Sends an outcome; the calls that raised and have tries left go back, one by one."""
        job, attempt = work.job, work.attempt
        again = [i for i, failure in outcome.failures.items() if failure.cause in _AGAIN and attempt <= job.retries]
        if again:
            calls = splitting.raw_calls(job)
            jobs = [splitting.part(job, calls, range(i, i + 1), attempt) for i in again]
            self._put_back(work, jobs, delay=splitting.retry_delay(attempt))
            parts = splitting.slice_outcome(outcome, splitting.runs(job.count, again))
        else:
            parts = [outcome]
        for part in parts:
            self._send(work.hold, job.reply, encode_outcome(part), work.store)
        work.hold.delete()

    def _missing(self, work: Work, failure: Failure) -> None:
        """This node lacks the code: another one may have it, if there is another and tries are left."""
        if work.attempt < work.limit and not self._alone():
            job = msgspec.structs.replace(work.job, attempt=work.attempt)
            self._put_back(work, [job], delay=ELSEWHERE)
        else:
            self._fail(work, failure, [])
        work.hold.delete()

    def _alone(self) -> bool:
        try:
            return self._link.queue.stats(self._farm.work).watching <= self._slots
        except Disconnected:
            return False

    def _crashed(self, work: Work, verdict: Verdict, output: list[tuple[str, str]], last_words: str) -> None:
        """The child died under the job: the call to blame goes back alone, with one try less; so do its neighbours."""
        job = work.job
        behind = min(work.attempt, work.limit - 1)
        if job.count > 1 and verdict.place < job.count:
            self._put_back(work, splitting.around(job, verdict.place, behind, job.attempt))
        elif job.count > 1:
            self._put_back(work, splitting.singles(job, behind))
        elif work.attempt < work.limit:
            self._put_back(work, [msgspec.structs.replace(job, attempt=work.attempt)])
        else:
            self._give_up(work, _crash(work, verdict, last_words), output)
            return
        work.hold.delete()

    def _overtime(self, work: Work, verdict: Verdict, output: list[tuple[str, str]]) -> None:
        job, place = work.job, min(verdict.place, work.job.count - 1)
        calls = splitting.raw_calls(job)
        jobs = [splitting.part(job, calls, span, job.attempt) for span in splitting.runs(job.count, [place])]
        culprit = splitting.part(job, calls, range(place, place + 1), work.attempt)
        self._put_back(work, jobs)
        if work.attempt <= job.retries:
            self._put_back(work, [culprit], delay=splitting.retry_delay(work.attempt))
        else:
            signal = verdict.end.signal if verdict.end else ""
            failure = Failure(
                cause=Cause.TIMEOUT,
                message=f"{job.task} ran over its time limit of {job.timeout:g} s in code that Python cannot "
                f"interrupt, and {'its process was killed' if signal else 'was given up'}",
                signal=signal,
                peak=verdict.end.peak if verdict.end else 0,
                attempts=work.attempt,
            )
            self._fail(work._replace(job=culprit), failure, output)
        work.hold.delete()

    def scatter(self, work: Work) -> None:
        """A job of many calls that lost a worker before: each call goes on alone, lest one take the others along."""
        self._put_back(work, splitting.singles(work.job, min(work.attempt - 1, work.limit - 1)))
        work.hold.delete()

    def lost(self, work: Work) -> None:
        """The end of a call that has lost its worker on every attempt."""
        times = work.attempt - 1
        message = (
            f"{work.job.task} lost its worker {times} times: the whole worker died or was cut off while it ran, "
            "each time; look for the memory it takes, and at the workers' logs"
        )
        self._give_up(work, Failure(cause=Cause.CRASHED, message=message, attempts=times), [])

    def refuse(self, hold: Hold, error: WireError) -> None:
        """Buries a message that cannot be taken as it is, and tells its sender if it says where."""
        log.warning("refused a message: %s", error)
        body = hold.body
        try:
            seen = msgspec.json.decode(body.rpartition(b"\n")[0] or body, type=_Lenient)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            seen = None
        if seen is not None and seen.reply.startswith(self._farm.reply_prefix) and 1 <= seen.count <= len(body):
            job = _stand_in(seen)
            failure = Failure(cause=Cause.REFUSED, message=str(error))
            self._send(hold, seen.reply, encode_outcome(self._failed(job, failure, 0)))
        hold.bury()

    def _give_up(self, work: Work, failure: Failure, output: list[tuple[str, str]]) -> None:
        self._fail(work, failure, output)
        job = msgspec.structs.replace(work.job, attempt=work.attempt, reason=failure.message)
        try:
            work.hold.bury(self._envelope(work, job))
        except TooLarge:
            work.hold.bury()

    def _failed(self, job: Job, failure: Failure, attempt: int) -> Outcome:
        return splitting.all_failed(job, failure, attempt=attempt, worker=self._worker, slots=self._slots)

    def _fail(self, work: Work, failure: Failure, output: list[tuple[str, str]]) -> None:
        outcome = msgspec.structs.replace(self._failed(work.job, failure, work.attempt), output=output)
        self._send(work.hold, work.job.reply, encode_outcome(outcome))

    def _send(self, hold: Hold, reply: str, body: bytes, store: str = "") -> None:
        """Puts an outcome; if the broker's limit asks for it, by reference, or in pieces."""
        try:
            self._mail.put(hold, reply, [self._signer.seal(body)])
        except TooLarge as error:
            outcome, why = decode_outcome(body), str(error)
            if store:
                try:
                    stub = encode_outcome(splitting.by_reference(outcome, self._values.give(store, body)))
                    self._mail.put(hold, reply, [self._signer.seal(stub)])
                    return
                except (StoreError, ConfigError) as refused:
                    why = f"{why}; nor could it go by reference: {refused}"
            pieces = splitting.smaller(outcome, why)
            if not pieces:
                log.error("an outcome cannot be sent, not even in short: %s", error)
            for piece in pieces:
                self._send(hold, reply, encode_outcome(piece), store)

    def _put_back(self, work: Work, jobs: Sequence[Job], *, delay: float = 0.0) -> None:
        if jobs:
            bodies = [self._envelope(work, job) for job in jobs]
            job = work.job
            self._mail.put(work.hold, self._farm.work, bodies, priority=job.priority, delay=delay, lease=job.lease)

    def _envelope(self, work: Work, job: Job) -> bytes:
        # An unsigned job stays unsigned: with our signature it could run anything.
        body = encode_job(job)
        return self._signer.seal(body) if work.signed else body


def _crash(work: Work, verdict: Verdict, last_words: str) -> Failure:
    end = verdict.end
    name = end.signal if end else "SIGKILL"
    peak = end.peak if end else 0
    why = f"ended by {name}" if name else "died"  # an executor does not tell of what
    if verdict.how is How.OVER_MEMORY:
        why = "held more than its memory limit and was killed"
    elif name == "SIGKILL":
        why += " (the system's out-of-memory killer does that)"
    size = f", with {peak / 2**20:,.0f} MiB of memory at its peak" if peak else ""
    words = f"; it last wrote: {last_words}" if last_words else ""
    return Failure(
        cause=Cause.CRASHED,
        message=f"the process that ran {work.job.task} {why}{size}, attempt {work.attempt} of {work.limit}{words}",
        signal=name,
        peak=peak,
        attempts=work.attempt,
    )


def _stand_in(seen: _Lenient) -> Job:
    """As much of a job as an outcome needs."""
    return Job(
        v=0,
        task="",
        run=seen.run,
        id=seen.id,
        attempt=0,
        count=seen.count,
        calls=msgspec.Raw(b"[]"),
        fingerprint="",
        reply=seen.reply,
        first=seen.first,
    )
