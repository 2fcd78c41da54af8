"""What travels to a worker: a `Job`, one or more calls of one task, as a line of JSON.

The worker's parent reads all of it but the calls, which stay raw JSON until the child that runs them (or a
worker that has to split the job) decodes them.
"""

from __future__ import annotations

import msgspec

from oche.errors import BadMessage

#: Version of the wire format; a worker refuses any other.
VERSION = 1


class Job(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="job", omit_defaults=True):
    """One or more calls of one task."""

    v: int  #: `VERSION`
    task: str  #: "module:name"
    run: str  #: the run it belongs to
    id: str  #: ours, unique in the world; parts of a job that was split keep it
    attempt: int  #: attempts that ended badly before this job was put
    count: int  #: number of calls
    calls: msgspec.Raw  #: JSON array; a call is an array of arguments, or {"args": [...], "kwargs": {...}}
    fingerprint: str  #: of the task's code, as the caller has it
    reply: str  #: tube for the outcomes
    first: int = 0  #: place of calls[0] in the job as it was put at first
    retries: int = 0  #: how often a call that raised is tried again
    crashes: int = 2  #: how often one whose process died, or whose worker was lost, is tried again
    timeout: float = 0.0  #: seconds that one call may take; 0 is no limit
    priority: int | None = None  #: it was put with, where the task has one of its own
    lease: float = 30.0  #: seconds it was put with; its holder renews it each third of that
    code: str = ""  #: base64 of the function by cloudpickle, where it cannot be imported; or a reference to that
    store: str = ""  #: URL of the store that references lead to and that a large outcome may go to; no password
    reason: str = ""  #: of a buried job: why


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Job)


def encode_job(job: Job) -> bytes:
    """The job as one line of JSON, unsigned."""
    return _encoder.encode(job)


def decode_job(data: bytes) -> Job:
    """Raises `BadMessage` for anything that is not a job of this version."""
    try:
        job = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage(f"not a job: {error}; it begins with {data[:60]!r}") from error
    if job.v != VERSION:
        raise BadMessage(
            f"job {job.id!r} has wire version {job.v}, and this oche speaks {VERSION}; upgrade the older side"
        )
    if job.count < 1:
        raise BadMessage(f"job {job.id!r} has {job.count} calls; a job has at least one")
    return job
