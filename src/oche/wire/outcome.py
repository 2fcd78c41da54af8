"""What comes back for a job: an `Outcome` with values, and a `Failure` for each call that has none.

The outcome of a job may come in parts (a split job, a result over the broker's limit): each part says which
calls it covers, by `first` and `count`. The receiver keeps the first outcome of each call and drops the rest.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from oche.errors import BadMessage
from oche.wire.job import VERSION
from oche.wire.stored import Stored


class Cause(StrEnum):
    """Why a call has no value."""

    RAISED = "raised"  # the task raised an exception
    CRASHED = "crashed"  # its process died or was lost, on each attempt
    TIMEOUT = "timeout"
    REFUSED = "refused"  # the worker may not run it
    NOT_FOUND = "not found"  # the worker cannot import the task
    WRONG_CODE = "wrong code"  # the fingerprints differ
    UNSENDABLE = "unsendable"  # the result cannot travel
    LOST = "lost"  # an argument by reference, or a result, is not in the store any more; the client puts the job again
    CANCELLED = "cancelled"  # a signal told the worker to stop


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a call has no value."""

    cause: Cause
    message: str
    exception: str = ""  #: "module:ClassName" where the task raised
    args: msgspec.Raw = msgspec.Raw(b"[]")  #: the exception's arguments, encoded as values are
    pickle: str = ""  #: base64 pickle of the exception, where class and arguments do not rebuild it
    traceback: str = ""  #: as text
    signal: str = ""  #: "SIGKILL", or "exit 3"
    peak: int = 0  #: bytes of memory the process held at most
    attempts: int = 1


class Outcome(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="outcome", omit_defaults=True):
    """The results of calls first .. first + count - 1 of a job."""

    v: int
    job: str
    run: str
    attempt: int
    first: int
    count: int
    values: msgspec.Raw  #: JSON array of count values; null where there is a failure
    failures: dict[int, Failure] = {}  #: by place, counted from `first`
    worker: str = ""  #: "host:pid/slot"
    slots: int = 0  #: slots of that worker
    seconds: float = 0.0  #: spent on these calls, decoding and encoding included
    peak: int = 0  #: bytes of memory the process has held at most
    output: list[tuple[str, str]] = []  #: (stream, text) with stream "stdout" or "stderr", capped
    stored: Stored | None = None  #: all of it, given to the job's store; then there are no values here


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Outcome)


def encode_outcome(outcome: Outcome) -> bytes:
    """The outcome as one line of JSON, unsigned."""
    return _encoder.encode(outcome)


def decode_outcome(data: bytes) -> Outcome:
    """Raises `BadMessage` for anything that is not an outcome of this version."""
    try:
        outcome = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage(f"not an outcome: {error}; it begins with {data[:60]!r}") from error
    if outcome.v != VERSION:
        raise BadMessage(f"outcome of job {outcome.job!r} has wire version {outcome.v}; this oche speaks {VERSION}")
    return outcome
