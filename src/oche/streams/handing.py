"""What is asked of a child for a message, and what its answer means."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import NamedTuple

import msgspec

from oche.streams import calling
from oche.streams.seam import Message
from oche.streams.stage import Stage
from oche.wire.codec import decode_values
from oche.wire.job import VERSION, Job, encode_job
from oche.wire.outcome import Failure, decode_outcome
from oche.wire.task import reference
from oche.worker import frames
from oche.worker.trial import How, Verdict

#: Characters of a message that is kept in short.
SHORT = 1000
#: Bytes of a message that are kept in its dead letter.
_MOST = 2**14


class Handed(NamedTuple):
    """What came of it: results, or a reason why not."""

    results: list[tuple[str, str]] | None = None  #: topic and JSON of each
    reason: str = ""
    again: bool = False  #: it was not to blame, and is to be had again


class Asked:
    """Makes the jobs for a stage."""

    def __init__(self, target: str, stage: Stage) -> None:
        task = reference(calling.handle)
        self._task, self._fingerprint = task.name, task.fingerprint
        self._target, self._stage = target, stage

    def job(self, message: Message) -> bytes | None:
        """The job, as the child takes it; None for a body that is no text."""
        try:
            text = message.body.decode()
        except UnicodeDecodeError:
            return None
        job = Job(
            v=VERSION,
            task=self._task,
            run="stream",
            id=message.id,
            attempt=0,
            count=1,
            calls=msgspec.Raw(msgspec.json.encode([[self._target, self._stage.name, text]])),
            fingerprint=self._fingerprint,
            reply="",
            timeout=self._stage.timeout,
        )
        return encode_job(job)


def ask(verdict: Verdict, stage: Stage) -> Handed:
    """What the verdict on a message says."""
    how = verdict.how
    if how in (How.ENDING, How.INTERRUPTED, How.CALLED_OFF):
        return Handed(again=True)
    if how is How.OVERTIME:
        return Handed(reason=f"it ran over the stage's time limit of {stage.timeout:g} s, and its process was killed")
    frame = verdict.frame
    if how is not How.REPLIED or frame is None:
        end = verdict.end.signal if verdict.end else "SIGKILL"
        return Handed(reason=f"the process that handled it ended by {end}")
    body = bytes(frame.body)
    if frame.kind == frames.DONE:
        value = decode_values(decode_outcome(body).values, trusted=False)[0]
        return Handed(results=[(topic, text) for topic, text in value])
    if frame.kind == frames.MIXED:
        return Handed(reason=_reason(decode_outcome(body).failures[0]))
    if frame.kind == frames.STALE:
        return Handed(reason=body.decode(errors="replace"))
    return Handed(reason=_reason(frames.decode_failure(body)))


def dead_letter(stage: Stage, message: Message, reason: str) -> bytes:
    """The message with the reason why it was given up, as JSON; one that is no JSON as a text, a large one in short."""
    content: object = message.body.decode(errors="replace")
    with suppress(ValueError, RecursionError):
        content = calling.read_json(message.body)
    if len(message.body) > _MOST:
        content = f"{message.body.decode(errors='replace')[:SHORT]}..."
    letter = {
        "message": content, "topic": stage.topic, "channel": stage.channel, "attempts": message.attempts,
        "reason": reason[:SHORT],
    }  # fmt: skip
    return json.dumps(letter, ensure_ascii=False).encode(errors="replace")


def _reason(failure: Failure) -> str:
    name = failure.exception.rpartition(":")[2]
    return f"{name}: {failure.message}" if name else failure.message
