"""A hand that is somebody else's: a slot's job is one call in an executor."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, CancelledError
from contextlib import suppress

from oche.engines import remote
from oche.engines.pool import Answer, Pool
from oche.errors import Unsupported
from oche.sharing.memory import Memory
from oche.wire.job import decode_job
from oche.wire.outcome import Cause, Failure
from oche.worker import frames
from oche.worker.crew import End
from oche.worker.output import Capture
from oche.worker.page import IDLE, LOADING, SIZE, Page, new_page
from oche.worker.splitting import attempts_of


class Borrowed:
    """A `worker.hand.Hand`. It is always ready: the executor sees to its workers, the pool to the executor."""

    def __init__(self, pool: Pool, setup: frames.Setup) -> None:
        self._pool, self._worker = pool, setup.worker
        self._memory: Memory | None = None
        with suppress(Unsupported):
            self._memory = Memory.create(SIZE)
        self._shared = pool.engine.traits.here and self._memory is not None
        self.page = new_page() if self._memory is None else Page(self._memory.fd)
        self.reply: frames.Frame | None = None
        self.end: End | None = None
        self.ready = True
        self.jobs = 0
        self.stdout, self.stderr = Capture(), Capture()  # nothing of it comes here
        self._call: Answer | None = None
        self._job: tuple[bytes, int] | None = None  # in hand: its body, and which attempt this is
        self._alone = False

    def give(self, body: bytes, attempt: int, *, trusted: bool) -> None:
        """Lets the executor run a job, once the pool lets it."""
        assert trusted, "what is unsigned never comes to another's executor"
        self.reply, self._call, self._job = None, None, (body, attempt)
        self.jobs += 1
        self.page.clear()
        if not self._shared:  # perhaps nobody will write down where it is
            self.page.place[0] = LOADING
        self._alone = False
        if attempt > 1 and self._pool.suspects:
            job = decode_job(body)
            self._alone = job.id in self._pool.suspects and attempt >= attempts_of(job)
        self.wait(0.0)

    def wait(self, timeout: float) -> bool:
        """As `Hand.wait`. Raises `Unfit` where the executor is at its end."""
        if self.reply is None and self.end is None and self._job is not None:
            self._listen(*self._job, timeout)
        return self.reply is not None or self.end is not None

    def _listen(self, body: bytes, attempt: int, timeout: float) -> None:
        if self._call is None:
            page = "" if self._memory is None else remote.page_name(self._memory)
            self._call = self._pool.call(self, self._alone, page, self._worker, body, attempt)
            if self._call is None:
                self._pool.wait(timeout)
                return
        try:
            kind, answer = self._call.result(timeout)
            self.reply = frames.Frame(kind, 0, answer)
        except TimeoutError as error:
            # Ours, unless the call raised that very one; it may have ended since, and the next look will see it.
            if not self._call.done() or self._call.cancelled() or self._call.exception() is not error:
                return
            self._beyond("it ran out of time")
        except CancelledError:  # by the owner of the executor
            if not self._shared:
                self.page.place[0] = IDLE  # whether it had begun nobody knows; nobody died at it
            self.end = End("", 0)
        except BrokenExecutor:
            self.end = End("", 0)
            if self.page.place[0] != IDLE:
                self._pool.suspects.add(decode_job(body).id)
        except Exception as error:
            self._beyond(f"{type(error).__name__}: {error}")
        if self.reply is not None and self._alone:
            self._pool.suspects.discard(decode_job(body).id)
        self._pool.ended(self, begun=self.reply is not None or self.page.place[0] != IDLE)

    def _beyond(self, why: str) -> None:
        """The executor could not even call us."""
        message = f"the executor could not run a job of oche's ({why}); install oche where its workers are"
        self.reply = frames.Frame(
            frames.MISSING, 0, frames.encode_failure(Failure(cause=Cause.NOT_FOUND, message=message))
        )

    def output(self) -> list[tuple[str, str]]:
        """Nothing: what calls print goes where the workers' own output goes."""
        return []

    def resident(self) -> int:
        """0: nobody knows which process it is."""
        return 0

    def terminate(self) -> None:
        """Nothing can be done: no exception reaches a call that runs elsewhere."""

    def kill(self) -> None:
        """Gives the call up: one that waits never runs, one that runs is told to stop and then left alone."""
        if self.end is None:
            self.page.stop[0] = 1
            if self._call is not None:
                self._call.cancel()
            self._pool.ended(self, begun=False)
            self.end = End("", 0)
        self.close()

    def close(self) -> None:
        """Its page goes: a call that finds none does not begin."""
        if self._memory is not None:
            self._memory.close()
