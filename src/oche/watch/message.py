"""A message that lies in a tube, made readable: for a person who asks what waits, or why it was set aside.

Nothing of it is run or unpickled, whoever signed it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from oche.errors import BadMessage, BadSignature
from oche.queues.seam import Peeked
from oche.wire.job import Job, decode_job
from oche.wire.outcome import Outcome, decode_outcome
from oche.wire.signing import Signer

_SIGNATURE = re.compile(rb"\n[0-9a-f]{64}\Z")


class Signature(StrEnum):
    """What is known of who wrote a message."""

    GOOD = "good"
    UNSIGNED = "unsigned"
    WRONG = "wrong"  # by another key, or the message was changed
    UNCHECKED = "not checked"  # no key here


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A job, an outcome, or neither; `text` is what it says without the signature."""

    broker_id: str  #: the broker's id for it
    kind: str  #: "job", "outcome" or "unknown"
    signature: Signature
    size: int  #: bytes, signature included
    text: str
    id: str = ""  #: of the job, ours
    task: str = ""
    run: str = ""
    attempt: int = 0
    count: int = 0  #: calls
    calls: Any = None  #: as JSON has them
    fingerprint: str = ""
    by_value: bool = False  #: the function itself is in the job
    worker: str = ""  #: that made the outcome
    reason: str = ""  #: why a job was buried, or cannot be read


def read_message(peeked: Peeked, signer: Signer) -> Message:
    """Never raises for what is in the message; a signer without key leaves the signature unchecked."""
    data = peeked.body
    found = _SIGNATURE.search(data)
    body = data[: found.start()] if found else data
    plain: dict[str, Any] = {
        "broker_id": peeked.id,
        "signature": _signature(data, bool(found), signer),
        "size": len(data),
        "text": body.decode("utf-8", "backslashreplace"),
    }
    try:
        return Message(kind="job", **_of_job(decode_job(body)), **plain)
    except (BadMessage, RecursionError) as error:
        reason = str(error)
    try:
        return Message(kind="outcome", **_of_outcome(decode_outcome(body)), **plain)
    except (BadMessage, RecursionError):
        return Message(kind="unknown", reason=reason, **plain)


def _signature(data: bytes, there: bool, signer: Signer) -> Signature:
    if not there:
        return Signature.UNSIGNED
    if not signer.signed:
        return Signature.UNCHECKED
    try:
        return Signature.GOOD if signer.open(data)[1] else Signature.UNSIGNED
    except BadSignature:
        return Signature.WRONG


def _of_job(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "task": job.task,
        "run": job.run,
        "attempt": job.attempt,
        "count": job.count,
        "calls": json.loads(bytes(job.calls)),
        "fingerprint": job.fingerprint,
        "by_value": bool(job.code),
        "reason": job.reason,
    }


def _of_outcome(outcome: Outcome) -> dict[str, Any]:
    failures = [f"{failure.cause.value}: {failure.message}" for failure in outcome.failures.values()]
    return {
        "id": outcome.job,
        "run": outcome.run,
        "attempt": outcome.attempt,
        "count": outcome.count,
        "worker": outcome.worker,
        "reason": "; ".join(failures),
    }
