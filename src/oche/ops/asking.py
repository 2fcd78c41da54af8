"""Asking each worker of a farm what it is: a small signed job in its own tube, answered by whichever slot is free.

A worker with other code refuses our task and names the fingerprint of its own; it is then asked for that one, so that
it tells by itself which version it is.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from oche.cluster.answers import read_outcome
from oche.errors import Unsupported, WireError
from oche.queues.seam import Queue
from oche.wire.codec import decode_values
from oche.wire.fingerprint import fingerprint
from oche.wire.job import VERSION, Job, encode_job
from oche.wire.names import Farm
from oche.wire.outcome import Cause
from oche.wire.signing import Signer
from oche.worker.about import about

#: Seconds in which a worker that has refused a job sets it aside.
_ASIDE = 2.0
#: Seconds in which a job comes that is ready, and so many that one looks at, at most.
_GRASP, _MANY = 0.5, 100
#: As `check_code` says it.
_THEIRS = re.compile(r"has the fingerprint (\S+) on this node")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back from a worker: what it is, or why it does not say. Neither if nothing came."""

    worker: str  #: host.pid.slots
    about: dict[str, str | float] | None = None
    problem: str = ""
    stranger: bool = False  #: its answer is not signed with our key
    sent: float = 0.0  #: our clock when it was asked ...
    received: float = 0.0  #: ... and when the answer was there


@dataclass(frozen=True, slots=True)
class _Probe:
    worker: str
    id: str  # the broker's
    body: bytes
    sent: float
    fingerprint: str


class Asking:
    """One round of questions over one connection."""

    def __init__(self, queue: Queue, signer: Signer, farm: Farm) -> None:
        self._queue, self._signer, self._farm = queue, signer, farm
        self._run = f"_doctor-{os.urandom(6).hex()}"
        self._out: dict[str, _Probe] = {}

    def ask(self, workers: Iterable[str], patience: float) -> list[Answer]:
        """An `Answer` for each worker, in `patience` seconds. Takes back what nobody took."""
        workers = list(workers)
        found: dict[str, Answer] = {}
        end = time.monotonic() + patience
        try:
            for worker in workers:
                self._put(worker, fingerprint(about))
            while self._out and (left := end - time.monotonic()) > 0:
                delivery = self._queue.reserve([self._farm.reply(self._run)], left)
                if delivery is not None:
                    self._queue.delete(delivery)
                    if (answer := self._read(delivery.body)) is not None:
                        found[answer.worker] = answer
        finally:
            for probe in self._out.values():
                self._discard(probe)
        return [found.get(worker, Answer(worker=worker)) for worker in workers]

    def _put(self, worker: str, code: str) -> None:
        job = Job(
            v=VERSION,
            task=f"{about.__module__}:{about.__name__}",
            run=self._run,
            id=os.urandom(12).hex(),
            attempt=0,
            count=1,
            calls=msgspec.Raw(b"[[]]"),
            fingerprint=code,
            reply=self._farm.reply(self._run),
            crashes=0,  # it is asked once; above all the question must not go on to another worker
            priority=0,
        )
        sent = time.time()
        body = self._signer.seal(encode_job(job))
        id_ = self._queue.put(self._farm.node(worker), body, priority=0)
        self._out[job.id] = _Probe(worker, id_, body, sent, code)

    def _read(self, data: bytes) -> Answer | None:
        received = time.time()
        try:
            outcome, refusal, _ = read_outcome(self._signer, data)
        except WireError:
            return None
        probe = self._out.pop(outcome.job, None)
        if probe is None:
            return None
        if refusal is not None:
            self._take_back(probe)
            return Answer(worker=probe.worker, problem=str(refusal), stranger=True)
        if (failure := outcome.failures.get(0)) is None:
            told = dict(decode_values(outcome.values, trusted=False)[0])
            return Answer(worker=probe.worker, about=told, sent=probe.sent, received=received)
        theirs = _THEIRS.search(failure.message)
        if failure.cause is Cause.WRONG_CODE and theirs is not None and theirs[1] != probe.fingerprint:
            self._put(probe.worker, theirs[1])
            return None
        return Answer(worker=probe.worker, problem=failure.message)

    def _take_back(self, probe: _Probe) -> None:
        """The question that a worker could not trust: it answers first and buries it then."""
        end = time.monotonic() + _ASIDE
        while not self._discard(probe) and time.monotonic() < end:
            time.sleep(0.01)

    def _discard(self, probe: _Probe) -> bool:
        """Whether it is gone. Where a broker cannot delete one job, it is taken; set aside, it stays there."""
        try:
            return self._queue.discard(probe.id)
        except Unsupported:
            for delivery in self._queue.reserve_many([self._farm.node(probe.worker)], _MANY, _GRASP):
                (self._queue.delete if delivery.body == probe.body else self._queue.release)(delivery)
        return True
