"""Jobs of one run are made here: identified, encoded, sealed, and not larger than the broker takes."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import itertools
import os
from typing import Any

import msgspec

from oche.cluster.depot import Depot
from oche.cluster.ticket import Ticket
from oche.errors import StoreError, TooLarge
from oche.queues.seam import Traits
from oche.stores.seam import Store
from oche.wire.job import VERSION, Job, encode_job
from oche.wire.signing import Signer
from oche.wire.stored import LONGEST, Stored, arguments, digest_of, read_stored, references, shorten, write_stored
from oche.wire.task import TaskRef

#: Bytes of encoded calls in one job where the broker has no limit of its own.
LARGEST = 1 << 20
#: Bytes kept free under a broker's limit for all of a job that is not its calls or its code.
HEADROOM = 2048


class JobMaker:
    """Makes the sealed jobs of one run; what the broker does not take goes to the store, if any. Thread-safe."""

    def __init__(
        self, run: str, reply: str, signer: Signer, traits: Traits, *, lease: float, store: Store | None = None
    ) -> None:
        self._run, self._reply, self._signer, self._limit, self._lease = run, reply, signer, traits.max_body, lease
        self._depot = None if store is None or self._limit is None else Depot(store)
        self._store = "" if self._depot is None or store is None else store.url
        self._prefix = os.urandom(12).hex()
        self._serial = itertools.count()

    def room(self, ref: TaskRef) -> int:
        """Bytes of encoded calls that fit in one job of this task."""
        if self._limit is None:
            return LARGEST
        return min(LARGEST, max(0, self._limit - HEADROOM - (LONGEST if self._code_stays(ref) else len(ref.code))))

    def _code_stays(self, ref: TaskRef) -> bool:
        """Whether the function's code is to stay in the store, as it would take most of a job."""
        return self._depot is not None and self._limit is not None and len(ref.code) > self._limit // 2

    def check(self, ref: TaskRef, calls: bytes) -> None:
        """Raises `TooLarge` if even alone these calls cannot travel, and there is no store to leave them in."""
        if self._depot is None:
            self._check(ref, len(calls) + len(ref.code))

    def _check(self, ref: TaskRef, size: int) -> None:
        if self._limit is not None and size > self._limit - HEADROOM:
            if self._depot is None:
                way_out = "give `connect` a store= that the workers reach: large arguments then go by reference; or "
            else:
                way_out = "even with its large arguments left in the store; give it fewer arguments, or "
            raise TooLarge(
                f"a call of {ref.name} takes {size:,} bytes as a job and the broker takes {self._limit:,}; {way_out}"
                "pass a path or a smaller value, or raise the broker's limit (beanstalkd: -z BYTES)"
            )

    def make(self, ref: TaskRef, calls: bytes, count: int, *, items: int | None = None) -> Ticket:
        """A ticket for one job of `count` calls, given as a JSON array; `items` is what its pace counts.

        Raises `TooLarge`, and `StoreError` where the store does not take what the broker does not.
        """
        stored: list[Stored] = []
        code = ref.code
        if self._limit is not None and len(calls) + len(code) > self._limit - HEADROOM:
            try:
                code, calls = self._shorten(ref, calls, stored)
                self._check(ref, len(calls) + len(code))
            except BaseException:
                self._forget(stored)
                raise
        job = Job(
            v=VERSION,
            task=ref.name,
            run=self._run,
            id=f"{self._prefix}-{next(self._serial):x}",
            attempt=0,
            count=count,
            calls=msgspec.Raw(calls),
            fingerprint=ref.fingerprint,
            reply=self._reply,
            retries=ref.options.retries,
            crashes=ref.options.crashes,
            timeout=ref.options.timeout or 0.0,
            priority=ref.options.priority,
            lease=self._lease,
            code=code,
            store=self._store,
        )
        ticket = Ticket(job, self._signer.seal(encode_job(job)), items=count if items is None else items)
        ticket.stored = stored
        return ticket

    def _shorten(self, ref: TaskRef, calls: bytes, stored: list[Stored]) -> tuple[str, bytes]:
        """Code and calls by reference, as far as needed."""
        if self._depot is None:
            return ref.code, calls

        def leave(data: bytes) -> Stored:
            assert self._depot is not None
            stored.append(self._depot.leave(data))
            return stored[-1]

        code = ref.code
        if self._code_stays(ref):
            code = write_stored(leave(code.encode())).decode()
        return code, shorten(calls, self.room(ref), leave)

    # --- what becomes of references

    def release(self, ticket: Ticket) -> None:
        """The job is over: nobody asks for what it named."""
        stored, ticket.stored = ticket.stored, []
        self._forget(stored)

    def _forget(self, stored: list[Stored]) -> None:
        if self._depot is not None and stored:
            with contextlib.suppress(StoreError):  # it ends with the store
                self._depot.done(stored)

    def renew(self, ticket: Ticket) -> None:
        """Another body for a job whose references lead nowhere any more. Raises `StoreError`."""
        if self._depot is None or not ticket.stored:
            return
        calls, code = bytes(ticket.job.calls), ticket.job.code.encode()
        for place, old in enumerate(ticket.stored):
            new = self._depot.again(old)
            # No text of a caller's can hold this: its quotes would be escaped, and its keys do not begin with "$".
            before, after = write_stored(old), write_stored(new)
            calls, code = calls.replace(before, after), code.replace(before, after)
            ticket.stored[place] = new
        job = msgspec.structs.replace(ticket.job, calls=msgspec.Raw(calls), code=code.decode(), store=self._store)
        ticket.job, ticket.body = job, self._signer.seal(encode_job(job))

    def claim(self, ticket: Ticket, ref: TaskRef, calls: bytes) -> bool:
        """Takes charge of what a job of an earlier life names; false if these calls do not have all of it."""
        named = references(ticket.job.calls)
        if (code := read_stored(ticket.job.code)) is not None:
            named.append(code)
        if ticket.stored or not named:
            return True
        here = {digest_of(data): data for data in (*arguments(calls), ref.code.encode())}
        if self._depot is None or any(stored.digest not in here for stored in named):
            return False
        ticket.stored = [self._depot.claim(stored, here[stored.digest]) for stored in named]
        return True


def identity(ref: TaskRef, function: Any) -> bytes:
    """What names a task in a journal, the same each time the program runs.

    The pickle of a function that travels by value may differ from start to start, so its source stands for
    it (its bytecode where there is no source).
    """
    if not ref.code:
        return f"{ref.name} {ref.fingerprint}".encode()
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    try:
        text = inspect.getsource(function).encode()
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        text = code.co_code + repr(code.co_names).encode() if code is not None else b""
    return f"{ref.name} ".encode() + hashlib.sha256(text).digest()
