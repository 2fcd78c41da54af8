"""Runs the calls of a job, in order, inside the child, and writes down what came of each.

A call that raises, whatever it raises, is one failed call: the child and its other calls go on. The place of
the call that runs is written into the page before it begins.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

import msgspec

from oche.errors import BadMessage, Refused, StoreError, TaskNotFound, Unsendable, WrongCode
from oche.wire.codec import Call, decode_calls, encode_values
from oche.wire.exceptions import describe
from oche.wire.job import VERSION, Job, decode_job
from oche.wire.outcome import Cause, Failure, Outcome, encode_outcome
from oche.wire.task import resolve
from oche.worker import frames
from oche.worker.context import Desk
from oche.worker.page import IDLE, LOADING
from oche.worker.values import Values

Function = Callable[..., object]
#: Tasks that a child keeps at hand; by-value code of an older run makes room.
_REMEMBERED = 64


class CalledOff(BaseException):
    """The job was called off. Not an Exception, so that a task's `except Exception` lets it through."""


class _Lost(Exception):
    """The store does not have the job's function."""


class OverTime(BaseException):
    """The call is over its time limit."""


class Runner:
    """Runs jobs for one child."""

    def __init__(self, desk: Desk, setup: frames.Setup, peak: Callable[[], int]) -> None:
        self._desk = desk
        self._setup = setup
        self._peak = peak
        self._allowed = frozenset(setup.modules)
        self._tasks: dict[tuple[str, str, str, bool], Function] = {}
        self._values = Values()
        self._armed = False
        self.running = False  #: whether `CalledOff` may be raised in here

    def run(self, body: bytes | bytearray, attempt: int, *, trusted: bool) -> tuple[int, bytes]:
        """Runs the job; returns the kind and body of the reply. Raises `BadMessage` for what is no job."""
        began = time.perf_counter()
        desk = self._desk
        desk.page.place[0] = LOADING
        try:
            self.running = True
            job = decode_job(bytes(body))
            desk.job, desk.attempt = job, attempt
            return self._run(job, attempt, trusted, began)
        except CalledOff:
            return frames.CALLED_OFF, b""
        finally:
            self.running = False
            desk.job = None
            desk.page.place[0] = IDLE

    def _run(self, job: Job, attempt: int, trusted: bool, began: float) -> tuple[int, bytes]:
        failures: dict[int, Failure] = {}
        module = job.task.partition(":")[0]
        was_loaded = module in sys.modules
        try:
            function = self._resolve(job, trusted)
            calls = _decode(job, trusted, failures, attempt, self._values)
        except _Lost as error:
            calls, function = [], _never
            failures = dict.fromkeys(range(job.count), _lost(error, attempt))
        except WrongCode as error:
            if was_loaded:
                return frames.STALE, str(error).encode()
            return frames.MISSING, _plain(Cause.WRONG_CODE, error, attempt)
        except TaskNotFound as error:
            return frames.MISSING, _plain(Cause.NOT_FOUND, error, attempt)
        except (Refused, BadMessage) as error:
            return frames.REFUSED, _plain(Cause.REFUSED, error, attempt)
        except CalledOff:
            raise
        except BaseException as error:  # e.g. the task's module failed while it was imported
            failure = _describe(error, attempt, trusted)
            calls, function = [], _never
            failures = dict.fromkeys(range(job.count), failure)
        results: list[object] = [None] * job.count
        if calls:
            results = self._loop(function, calls, failures, job, attempt, trusted)
        self._desk.page.place[0] = LOADING
        values = _encode(results, failures, job, attempt, trusted)
        outcome = Outcome(
            v=VERSION,
            job=job.id,
            run=job.run,
            attempt=attempt,
            first=job.first,
            count=job.count,
            values=msgspec.Raw(values),
            failures=failures,
            worker=self._setup.worker,
            slots=self._setup.slots,
            seconds=time.perf_counter() - began,
            peak=self._peak(),
        )
        return frames.MIXED if failures else frames.DONE, encode_outcome(outcome)

    def _resolve(self, job: Job, trusted: bool) -> Function:
        key = (job.task, job.fingerprint, job.code, trusted)
        function = self._tasks.get(key)
        if function is None:
            code = self._fetch_code(job) if trusted else job.code
            function = resolve(job.task, job.fingerprint, code, trusted=trusted, allowed=self._allowed)
            if len(self._tasks) >= _REMEMBERED:
                del self._tasks[next(iter(self._tasks))]
            self._tasks[key] = function
        return function

    def _fetch_code(self, job: Job) -> str:
        try:
            return self._values.code(job)
        except StoreError as error:
            raise _Lost(str(error)) from error

    def _loop(
        self,
        function: Function,
        calls: Sequence[list[object] | Call | None],
        failures: dict[int, Failure],
        job: Job,
        attempt: int,
        trusted: bool,
    ) -> list[object]:
        run = self._untimed if job.timeout <= 0 else self._timed
        results: list[object] = []
        pending = enumerate(calls)
        page = self._desk.page
        while True:
            try:
                run(function, pending, results, job.timeout)
                break
            except CalledOff:
                raise
            except OverTime as error:
                if len(results) > page.place[0]:  # the alarm came when the call had just returned
                    continue
                failure = _describe(error, attempt, trusted)
                failures[len(results)] = msgspec.structs.replace(
                    failure,
                    cause=Cause.TIMEOUT,
                    message=f"{job.task} ran over its time limit of {job.timeout:g} s",
                    exception="",
                    args=msgspec.Raw(b"[]"),
                    pickle="",
                )
            except BaseException as error:
                failures[len(results)] = _describe(error, attempt, trusted)
            results.append(None)
        if page.stop[0]:  # a kernel that saw the byte returned early: nothing of this is a result
            raise CalledOff
        return results

    def _untimed(
        self,
        function: Function,
        pending: Iterator[tuple[int, list[object] | Call | None]],
        results: list[object],
        _limit: float,
    ) -> None:
        place, stop, done = self._desk.page.place, self._desk.page.stop, results.append
        for index, call in pending:
            place[0] = index
            if stop[0]:
                raise CalledOff
            if isinstance(call, list):
                done(function(*call))
            else:
                done(None if call is None else function(*call.args, **call.kwargs))

    def _timed(
        self,
        function: Function,
        pending: Iterator[tuple[int, list[object] | Call | None]],
        results: list[object],
        limit: float,
    ) -> None:
        page = self._desk.page
        previous = signal.signal(signal.SIGALRM, self._on_alarm)
        try:
            for one in pending:
                page.began[0] = time.monotonic()
                self._armed = True
                signal.setitimer(signal.ITIMER_REAL, limit)
                try:
                    self._untimed(function, iter((one,)), results, 0.0)
                finally:
                    self._armed = False
                    signal.setitimer(signal.ITIMER_REAL, 0.0)
                    page.began[0] = 0.0
        finally:
            signal.signal(signal.SIGALRM, previous)

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        # A late alarm, of a call that is over, must not hit the next one.
        if self._armed:
            self._armed = False
            raise OverTime


def _never(*_args: object, **_kwargs: object) -> None:
    raise AssertionError("a task that did not resolve was called")


def _decode(
    job: Job, trusted: bool, failures: dict[int, Failure], attempt: int, values: Values
) -> Sequence[list[object] | Call | None]:
    """The calls; None with a failure beside it where one call's arguments cannot be rebuilt here."""
    calls: Sequence[list[object] | Call | None]
    try:
        calls = decode_calls(values.whole(job, bytes(job.calls)) if trusted else job.calls, trusted=trusted)
    except (CalledOff, WrongCode):
        raise
    except BaseException:  # a value among them that cannot be rebuilt here, say of a class that is missing: find which
        if not trusted:
            raise
        calls = [_decode_one(job, raw, i, failures, attempt, values) for i, raw in enumerate(_raw_calls(job))]
    if len(calls) != job.count:
        raise BadMessage(f"job {job.id!r} says {job.count} calls and holds {len(calls)}")
    return calls


def _raw_calls(job: Job) -> list[msgspec.Raw]:
    return msgspec.json.decode(job.calls, type=list[msgspec.Raw])


def _decode_one(
    job: Job, raw: msgspec.Raw, index: int, failures: dict[int, Failure], attempt: int, values: Values
) -> list[object] | Call | None:
    try:
        call: list[object] | Call = decode_calls(values.whole(job, b"[" + bytes(raw) + b"]"), trusted=True)[0]
        return call
    except CalledOff:
        raise
    except StoreError as error:
        failures[index] = _lost(error, attempt)
    except BaseException as error:
        failures[index] = _describe(error, attempt, pickles=True)
    return None


def _lost(error: Exception, attempt: int) -> Failure:
    """Whatever the store says, also that it cannot be reached: the client may do better with another reference."""
    return Failure(cause=Cause.LOST, message=str(error), attempts=attempt)


def _encode(results: list[object], failures: dict[int, Failure], job: Job, attempt: int, pickles: bool) -> bytes:
    """The values as a JSON array; null with a failure beside it for a value that cannot travel."""
    try:
        return encode_values(results, pickles=pickles)
    except CalledOff:
        raise
    except BaseException:
        parts = [_encode_one(value, i, failures, job, attempt, pickles) for i, value in enumerate(results)]
        return b"[" + b",".join(parts) + b"]"


def _encode_one(
    value: object, index: int, failures: dict[int, Failure], job: Job, attempt: int, pickles: bool
) -> bytes:
    try:
        return encode_values([value], pickles=pickles)[1:-1]
    except CalledOff:
        raise
    except BaseException as error:
        text = str(error) if isinstance(error, Unsendable) else f"{type(error).__name__} while it was encoded"
        failures[index] = Failure(
            cause=Cause.UNSENDABLE,
            message=f"{job.task} returned a {type(value).__name__} that cannot travel: {text}",
            attempts=attempt,
        )
        return b"null"


def _plain(cause: Cause, error: Exception, attempt: int) -> bytes:
    return frames.encode_failure(Failure(cause=cause, message=str(error), attempts=attempt))


def _describe(error: BaseException, attempt: int, pickles: bool) -> Failure:
    try:
        return msgspec.structs.replace(describe(error, pickles=pickles), attempts=attempt)
    except CalledOff:
        raise
    except BaseException as again:  # no memory even for the description
        name = type(error).__name__
        return Failure(
            cause=Cause.RAISED,
            message=f"{name}, and describing it failed with {type(again).__name__}",
            exception=f"{type(error).__module__}:{name}",
            attempts=attempt,
        )
