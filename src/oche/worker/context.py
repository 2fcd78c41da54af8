"""What a task may know about where it runs; everything here also answers outside a worker.

for lo in range(...):
    if oche.stopping():      # somebody called this job off: whatever is returned now is thrown away
        return None
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oche.wire.job import Job
    from oche.worker.page import Page


@dataclass(frozen=True, slots=True)
class Context:
    """The call that runs."""

    run: str  #: the run it belongs to
    job: str  #: the job's id
    index: int  #: place of the call in the job as it was put at first
    attempt: int  #: 1 at the first try
    worker: str  #: "host:pid/slot"


class Desk:
    """Where a child keeps its page and its job: one in a child process (`sit`), or one in a thread (`seated`)."""

    def __init__(self, page: Page, worker: str) -> None:
        self.page = page
        self.worker = worker
        self.job: Job | None = None
        self.attempt = 0

    def context(self) -> Context | None:
        job = self.job
        if job is None:
            return None
        place = self.page.place[0]
        index = job.first + (place if place < job.count else 0)
        return Context(run=job.run, job=job.id, index=index, attempt=self.attempt, worker=self.worker)


# A process is one child or none, and so is a thread that somebody lends us; this is that fact, not a cache.
_desk: Desk | None = None
_lent = threading.local()


def sit(desk: Desk) -> None:
    """For the child's start only: this process is a worker's child from now on."""
    global _desk
    _desk = desk


@contextmanager
def seated(desk: Desk) -> Iterator[None]:
    """While a job runs in this thread, which is not ours."""
    before = getattr(_lent, "desk", None)
    _lent.desk = desk
    try:
        yield
    finally:
        _lent.desk = before


def _here() -> Desk | None:
    found: Desk | None = getattr(_lent, "desk", None)
    return _desk if found is None else found


def current() -> Context | None:
    """The call that runs in this process, or in this thread of somebody else's; None outside a worker."""
    desk = _here()
    return desk.context() if desk is not None else None


def stopping() -> bool:
    """True once the running job was called off; always False outside a worker."""
    desk = _here()
    return desk is not None and desk.page.stop[0] != 0


def stop_byte() -> memoryview:
    """One writable byte that becomes non-zero when the running job was called off.

    Compiled loops poll it. Outside a worker it is a zero byte of the caller's own.
    """
    desk = _here()
    return desk.page.stop if desk is not None else memoryview(bytearray(1))
