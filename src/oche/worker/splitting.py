"""How jobs and outcomes are cut into parts: pure functions, whose parts cover every call exactly once.

A job is cut so that a call to blame travels alone and its neighbours lose nothing; an outcome, so that calls
that are tried again are left out, or that it fits the broker's limit.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from oche.errors import BadMessage
from oche.wire.job import VERSION, Job
from oche.wire.outcome import Cause, Failure, Outcome
from oche.wire.stored import Stored

#: Characters of a message or traceback, and of each printed stream, that go home when all of it cannot.
_CLIPPED = 2000


def attempts_of(job: Job) -> int:
    """Attempts in all before a call that kills its process is given up."""
    return max(job.crashes, job.retries) + 1


def retry_delay(attempt: int, *, chance: float | None = None) -> float:
    """Seconds to wait before another try after so many; `chance` in [0, 1) stands for the random jitter."""
    full = min(60.0, 0.25 * 2.0 ** min(attempt - 1, 16))
    return full * (0.5 + 0.5 * (random.Random().random() if chance is None else chance))


def raw_calls(job: Job) -> list[msgspec.Raw]:
    """The calls, still encoded. Raises `BadMessage` if they are not what the job says."""
    try:
        calls = msgspec.json.decode(job.calls, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage(f"job {job.id!r} holds no list of calls: {error}") from error
    if len(calls) != job.count:
        raise BadMessage(f"job {job.id!r} says {job.count} calls and holds {len(calls)}")
    return calls


def part(job: Job, calls: Sequence[msgspec.Raw], span: range, attempt: int) -> Job:
    """The calls `span` of the job (counted from its own first) as a job, with so many attempts behind it."""
    return msgspec.structs.replace(
        job,
        first=job.first + span.start,
        count=len(span),
        calls=msgspec.Raw(_array(calls[span.start : span.stop])),
        attempt=attempt,
    )


def singles(job: Job, attempt: int) -> list[Job]:
    """Each call as a job of its own: nobody knows which of them is to blame."""
    calls = raw_calls(job)
    return [part(job, calls, range(i, i + 1), attempt) for i in range(job.count)]


def around(job: Job, index: int, attempt: int, before: int) -> list[Job]:
    """The call `index` alone, with `attempt` behind it, and its neighbours, with `before` as if nothing happened."""
    calls = raw_calls(job)
    spans = ((range(index), before), (range(index, index + 1), attempt), (range(index + 1, job.count), before))
    return [part(job, calls, span, behind) for span, behind in spans if span]


def runs(count: int, without: Iterable[int]) -> list[range]:
    """0 .. count-1 without some, as the fewest stretches."""
    edges = [-1, *sorted(set(without)), count]
    return [range(a + 1, b) for a, b in pairwise(edges) if b - a > 1]


def slice_outcome(outcome: Outcome, spans: Iterable[range]) -> list[Outcome]:
    """These stretches of an outcome, each as one; what was printed goes with the first."""
    values = msgspec.json.decode(outcome.values, type=list[msgspec.Raw])
    output = outcome.output
    parts = []
    for span in spans:
        failures = {i - span.start: f for i, f in outcome.failures.items() if i in span}
        parts.append(
            msgspec.structs.replace(
                outcome,
                first=outcome.first + span.start,
                count=len(span),
                values=msgspec.Raw(_array(values[span.start : span.stop])),
                failures=failures,
                seconds=outcome.seconds * len(span) / outcome.count,
                output=output,
            )
        )
        output = []
    return parts


def by_reference(outcome: Outcome, stored: Stored) -> Outcome:
    """What travels of an outcome that was given to a store."""
    return msgspec.structs.replace(outcome, values=msgspec.Raw(b"[]"), failures={}, output=[], stored=stored)


def smaller(outcome: Outcome, why: str) -> list[Outcome]:
    """An outcome over the broker's limit in a form that says as much in less; empty if there is none.

    In this order: less of what was printed, two halves, nothing of what was printed, a named failure in place of a
    value, a shorter failure.
    """
    clipped = [(stream, _clip(text)) for stream, text in outcome.output]
    if clipped != outcome.output:
        return [msgspec.structs.replace(outcome, output=clipped)]
    if outcome.count > 1:
        half = outcome.count // 2
        return slice_outcome(outcome, (range(half), range(half, outcome.count)))
    if outcome.output:
        return [msgspec.structs.replace(outcome, output=[])]
    failure = outcome.failures.get(0)
    if failure is None:
        size = len(outcome.values)
        failure = Failure(
            cause=Cause.UNSENDABLE,
            message=f"the result is {size:,} bytes as JSON and did not fit: {why}; give `connect` a store= that the "
            "workers reach, return less, or give the broker a higher limit (beanstalkd -z BYTES)",
            attempts=outcome.attempt,
        )
        return [msgspec.structs.replace(outcome, values=msgspec.Raw(b"[null]"), failures={0: failure})]
    short = msgspec.structs.replace(
        failure,
        args=msgspec.Raw(b"[]"),
        pickle="",
        message=_clip(failure.message),
        traceback=_clip(failure.traceback),
    )
    return [msgspec.structs.replace(outcome, failures={0: short})] if short != failure else []


def all_failed(job: Job, failure: Failure, *, attempt: int, worker: str, slots: int) -> Outcome:
    """The outcome of a job of which no call has a value, for one reason."""
    return Outcome(
        v=VERSION,
        job=job.id,
        run=job.run,
        attempt=attempt,
        first=job.first,
        count=job.count,
        values=msgspec.Raw(b"[" + b",".join([b"null"] * job.count) + b"]"),
        failures=dict.fromkeys(range(job.count), failure),
        worker=worker,
        slots=slots,
    )


def _array(parts: Sequence[msgspec.Raw]) -> bytes:
    return b"[" + b",".join(map(bytes, parts)) + b"]"


def _clip(text: str) -> str:
    if len(text) <= _CLIPPED:
        return text
    note = "\n... cut to fit the broker's limit ...\n"
    half = (_CLIPPED - len(note)) // 2
    return text[:half] + note + text[-half:]
