"""A node on a queue, and the client's side of it in plain sight: put jobs, read outcomes."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from oche.queues.memory import MemoryQueue
from oche.queues.seam import Queue
from oche.wire.codec import decode_values, encode_args
from oche.wire.job import VERSION, Job, encode_job
from oche.wire.names import Farm
from oche.wire.outcome import Failure, Outcome, decode_outcome
from oche.wire.signing import Signer
from oche.wire.task import reference
from oche.worker.node import Worker, WorkerOptions

HERE = str(Path(__file__).parent)
_ids = itertools.count(1)


def eventually(true: Callable[[], object], *, within: float = 20.0) -> None:
    """Waits for a condition; fails if it does not come."""
    until = time.monotonic() + within
    while not true():
        assert time.monotonic() < until, "the condition did not come true in time"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Bench:
    """A farm with one worker, unless `start` is False."""

    def __init__(
        self,
        queue: Queue | None = None,
        *,
        slots: int = 1,
        start: bool = True,
        signer: Signer | None = None,
        **options: Any,
    ) -> None:
        self.queue = queue or MemoryQueue()
        self.signer = signer or Signer(os.urandom(32))
        self.farm = Farm()
        self.run = f"_run{os.getpid()}-{next(_ids)}"
        self.reply = self.farm.reply(self.run)
        self.failed: list[str] = []
        options = {"slots": slots, "farm": self.farm, "path": (HERE,), **options}
        self._given = self.queue.clone()
        self.worker = Worker(self._given, self.signer, WorkerOptions(**options), on_failure=self.failed.append)
        self.outcomes: list[Outcome] = []
        self._early: list[Outcome] = []  # of jobs that nobody collects yet
        if start:
            self.worker.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.worker.stop()
        assert self.worker.join(15.0), "the worker did not end"
        self._given.close()
        self.queue.close()

    def job(
        self,
        task: Callable[..., Any] | str,
        calls: Sequence[Sequence[object]],
        *,
        raw: bytes | None = None,
        **changes: Any,
    ) -> Job:
        ref = reference(task) if not isinstance(task, str) else None
        job = Job(
            v=VERSION,
            task=ref.name if ref else str(task),
            run=self.run,
            id=f"job{os.getpid()}-{next(_ids)}",
            attempt=0,
            count=len(calls),
            calls=msgspec.Raw(raw if raw is not None else encode_args(calls)),
            fingerprint=ref.fingerprint if ref else "",
            reply=self.reply,
            code=ref.code if ref else "",
        )
        return msgspec.structs.replace(job, **changes)

    def put(self, job: Job, *, lease: float = 30.0) -> str:
        return self.queue.put(self.farm.work, self.signer.seal(encode_job(job)), lease=lease)

    def collect(self, job: Job, *, within: float = 30.0) -> list[Any]:
        """Values and failures in the order of the calls; the first outcome of a call counts."""
        found: dict[int, Any] = {}
        until = time.monotonic() + within
        while len(found) < job.count:
            left = until - time.monotonic()
            assert left > 0, f"only {sorted(found)} of {job.count} calls came back"
            outcome = self._next(job.id, left)
            if outcome is None:
                continue
            self.outcomes.append(outcome)
            values = decode_values(outcome.values, trusted=True)
            assert len(values) == outcome.count
            for i, value in enumerate(values):
                found.setdefault(outcome.first - job.first + i, outcome.failures.get(i, value))
        assert sorted(found) == list(range(job.count))
        return [found[i] for i in range(job.count)]

    def _next(self, job: str, timeout: float) -> Outcome | None:
        for outcome in self._early:
            if outcome.job == job:
                self._early.remove(outcome)
                return outcome
        delivery = self.queue.reserve([self.reply], timeout)
        if delivery is None:
            return None
        body, _ = self.signer.open(delivery.body)
        self.queue.delete(delivery)
        outcome = decode_outcome(body)
        if outcome.job == job:
            return outcome
        self._early.append(outcome)
        return None

    def reopen(self) -> None:
        """After the broker was started again."""
        self.queue.close()
        self.queue = self.queue.clone()

    def do(self, task: Callable[..., Any] | str, calls: Iterable[Sequence[object]], **changes: Any) -> list[Any]:
        """Puts a job and collects it."""
        job = self.job(task, list(calls), **changes)
        self.put(job)
        return self.collect(job)

    def one(self, task: Callable[..., Any] | str, *args: object, **changes: Any) -> Any:
        return self.do(task, [args], **changes)[0]

    def failure(self, task: Callable[..., Any] | str, *args: object, **changes: Any) -> Failure:
        failure = self.one(task, *args, **changes)
        assert isinstance(failure, Failure), failure
        return failure

    def settled(self, *, buried: int = 0) -> None:
        """Waits until nothing of the work is left but so many buried jobs."""

        def done() -> bool:
            stats = self.queue.stats(self.farm.work)
            return (stats.ready, stats.reserved, stats.delayed, stats.buried) == (0, 0, 0, buried)

        eventually(done)
