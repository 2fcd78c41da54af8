"""Jobs put, and moved from one function to another: a copy is put there before the job is done here."""

from __future__ import annotations

import re

from oche.errors import TooLarge
from oche.queues.gearman.line import CAN_DO, SUBMIT_JOB_BG, WORK_COMPLETE, Assigned, Line, packet
from oche.queues.gearman.names import Function, Label
from oche.queues.gearman.wire import Conversation

#: Bytes of a body. The server has no limit but its memory, and keeps all of it there.
MAX_BODY = 2**30
#: Jobs put or asked for in one go.
BATCH = 500

_LOST = re.compile(rb"^(\S+)\t([1-9]\d*)\t", re.MULTILINE)


def submission(function: str, label: Label, body: bytes) -> bytes:
    """The packet that puts a job. Raises `TooLarge`."""
    if len(body) > MAX_BODY:
        raise TooLarge(f"the body has {len(body)} bytes, over the limit of {MAX_BODY}; send a reference into a store")
    return packet(SUBMIT_JOB_BG[label.level], function.encode(), label.key(), body)


def completion(handle: bytes) -> bytes:
    """The packet that ends a job."""
    return packet(WORK_COMPLETE, handle, b"")


def losses(line: Line) -> dict[bytes, int]:
    """handle -> how many holders the job lost, for those that lost any. The server lists all its jobs for that."""
    return {handle: int(times) for handle, times in _LOST.findall(line.list("show jobs"))}


def transfer(
    wire: Conversation, function: Function, target: str, limit: int, *, without: str = ""
) -> list[tuple[Label, bytes]]:
    """Moves queued jobs to another function, or to the end of their own, but ends the one with the id `without`.

    Returns all that it took. For use within `Conversation.talk`.
    """
    if limit <= 0 or function.queued <= 0:
        return []
    with wire.aside() as line:
        line.send(packet(CAN_DO, function.name.encode()))
        taken: list[Assigned] = []
        while len(taken) < limit and (got := line.grab(min(limit - len(taken), BATCH))):
            taken += got
        lost = losses(line) if taken else {}
        found = [(Label.of(job.unique), job.body) for job in taken]
        for job, (label, body) in zip(taken, found, strict=True):
            if label.id != without:
                line.put([submission(target, label.again(label.handed + lost.get(job.handle, 0)), body)])
        line.settle(*[completion(job.handle) for job in taken])
    return found
