"""The client's face: a PEP 3148 Executor whose workers may be on any machine.

submit(fn, x) -> Future          one call; short calls travel together by themselves
map, starmap, imap_unordered     many calls, cut by measured time, a bounded number ahead
reduce(fn, span, combine)        fn(lo, hi) for pieces of a range, combined in order
first(fn, span)                  the first answer of fn(lo, hi), and the rest is called off
"""

from __future__ import annotations

import atexit
import collections
import hashlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from contextlib import ExitStack
from functools import partial
from operator import length_hint
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from oche.cluster.chunking import Pace
from oche.cluster.desk import Desk
from oche.cluster.flow import Flow, Part
from oche.cluster.future import Future
from oche.cluster.making import JobMaker, identity
from oche.cluster.notebook import html_table
from oche.cluster.progress import progress_bar
from oche.cluster.results import Results
from oche.cluster.sources import Items, Source, Span
from oche.cluster.submitting import Call, Submitter
from oche.cluster.ticket import Row
from oche.errors import ConfigError, Unsupported
from oche.plugins import without_password
from oche.stores.seam import Store
from oche.wire.codec import encode_call
from oche.wire.task import References, TaskRef

if TYPE_CHECKING:
    import numpy as np

    from oche.sharing.arrays import SharedArray

P = ParamSpec("P")
T = TypeVar("T")

_MISSING: Any = object()
#: Seconds that a program at its end waits for a broker that is away.
LEAVING = 15.0


class Cluster(futures.Executor):
    """Made by `oche.connect`. Thread-safe; leave it with `with` or `shutdown`."""

    def __init__(
        self, desk: Desk, url: str, *, store: Store | None = None, on_close: Callable[[], None] = lambda: None
    ) -> None:
        self.url = url
        self.store = store  #: where large values go, if anywhere; closed with the cluster
        self._desk = desk
        self._on_close = on_close
        self._maker = JobMaker(desk.run, desk.reply, desk.signer, desk.traits, lease=desk.lease, store=store)
        self._submitter = Submitter(desk, self._maker)
        self._references = References()
        self._paces: dict[tuple[str, str], Pace] = {}
        self._seen: Counter[bytes] = Counter()
        self._unread: list[Iterator[Any]] = []  # maps whose results nobody asked for
        self._shared: list[SharedArray] = []
        self._closed = False
        self._closing = threading.Lock()
        self._pid = os.getpid()
        desk.on_progress = self._submitter.pump
        desk.on_end, desk.on_loss = self._maker.release, self._maker.renew
        atexit.register(self.leave)

    def __repr__(self) -> str:
        return f"<oche cluster {without_password(self.url)}, slots: {self.slots}, jobs out: {self._desk.outstanding}>"

    def _repr_html_(self) -> str:
        """For notebooks; asks the broker nothing."""
        rows = {
            "cluster": without_password(self.url),
            "run": "" if self.run.startswith("_") else self.run,
            "slots": self.slots,
            "workers that answered": ", ".join(sorted(self._desk.workers)) or "none yet",
            "jobs out": self._desk.outstanding,
            "calls waiting": self._submitter.waiting,
        }
        return html_table({name: value for name, value in rows.items() if value != ""})

    @property
    def slots(self) -> int:
        """Slots of all workers, as last seen."""
        return self._desk.slots

    @property
    def run(self) -> str:
        """Name of the run that the calls belong to; begins with an underscore if nobody gave one."""
        return self._desk.run

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Calls fn(*args, **kwargs) on a worker.

        What is over the broker's limit goes by way of the store, if there is one. Raises `Unsendable` for a function
        or argument that cannot travel, `TooLarge` for one over the limit without a store, `Unsupported` for a delay
        that the broker cannot keep, `RuntimeError` after shutdown.
        """
        self._check()
        ref = self._references.get(fn)
        self._desk.lacking.check(ref.name, ref.options)
        encoded = encode_call((*ref.args, *args), {**ref.kwargs, **kwargs})
        self._maker.check(ref, encoded)
        future: Future[T] = Future(self._submitter.drop)
        call = Call(ref, encoded, future)
        if self._desk.journal is not None:
            call.row = Row(self._op(b"call", ref, fn, encoded), 0, 1, b"")
            if self._desk.resume(call.row.op, future, partial(self._maker.claim, ref=ref, calls=b"[%b]" % encoded)):
                return future
        self._submitter.submit(call)
        return future

    def map(
        self, fn: Callable[..., T], *iterables: Iterable[Any],
        timeout: float | None = None, chunksize: int | None = None, progress: bool = False,
    ) -> Results[T]:  # fmt: skip
        """fn(*items) for the items of the iterables, in their order.

        The iterables are pulled only as far ahead as the slots need; results that nobody asks for are worked off
        by `shutdown`, as it waits. `chunksize` calls make a job, if given;
        else as many as measured time says. Raises what a call raised at its place, and `TimeoutError` where a
        result is not there `timeout` seconds after the call of map.
        """
        length = (
            None
            if not iterables
            else min((_length(it) for it in iterables), key=lambda n: float("inf") if n is None else n)
        )
        return self._ordered(fn, zip(*iterables, strict=False), length, timeout, chunksize, progress)

    def starmap(
        self, fn: Callable[..., T], tuples: Iterable[tuple[Any, ...]], *,
        timeout: float | None = None, chunksize: int | None = None, progress: bool = False,
    ) -> Results[T]:  # fmt: skip
        """fn(*tuple) for each tuple, in their order; otherwise as `map`."""
        return self._ordered(fn, tuples, _length(tuples), timeout, chunksize, progress)

    def imap_unordered(
        self, fn: Callable[[Any], T], items: Iterable[Any], *,
        timeout: float | None = None, chunksize: int | None = None, progress: bool = False,
    ) -> Results[T]:  # fmt: skip
        """fn(item) for each item, as they come back; otherwise as `map`."""
        length = _length(items)
        flow = self._items(fn, ((item,) for item in items), length, timeout, chunksize)

        def results() -> Iterator[T]:
            with flow, progress_bar(_name(fn), length, shown=progress) as advance:
                for part in flow.results():
                    yield from _values(part)
                    advance(part.hi - part.lo)

        return Results(results(), self._unread.append)

    def reduce(
        self, fn: Callable[[int, int], T], span: range, combine: Callable[[T, T], T], *,
        initial: T = _MISSING, progress: bool = False, on_part: Callable[[int, T], None] | None = None,
    ) -> T:  # fmt: skip
        """combine(... combine(fn(a, b), fn(b, c)) ..., fn(y, z)) over pieces that cover the span, in order.

        Where the span is cut depends on measured time, so the result is the same each time only if `combine`
        is associative in fact: integers are, floats only nearly. `on_part(items, value)` is told the length
        and the combined value of the beginning of the span, each time that has grown. Raises `ConfigError` for
        an empty span without `initial`.
        """
        ref = self._references.get(fn)
        flow = self._flow(ref, Span(span, ref), fn, b"reduce %d %d" % (span.start, span.stop), "span")
        total, value = 0, initial
        waiting: dict[int, tuple[int, T]] = {}
        with flow, progress_bar(ref.name, len(span), shown=progress) as advance:
            for part in flow.results():
                waiting[part.lo] = (part.hi, _values(part)[0])
                while total in waiting:
                    before = total
                    total, partial = waiting.pop(total)
                    value = partial if value is _MISSING else combine(value, partial)
                    advance(total - before)
                    if on_part is not None:
                        on_part(total, value)
        if value is _MISSING:
            raise ConfigError(f"reduce over the empty {span!r} has no value; give `initial`")
        return value

    def first(self, fn: Callable[[int, int], T | None], span: range, *, progress: bool = False) -> T | None:
        """The answer of fn(lo, hi) that is not None for the lowest piece of the span that has one; None if none has.

        Pieces above an answer are called off at once (kernels look at `oche.stop_byte`), those below are
        finished, so the answer does not depend on who was faster.
        """
        ref = self._references.get(fn)
        flow = self._flow(ref, Span(span, ref), fn, b"first %d %d" % (span.start, span.stop), "span")
        best: tuple[int, T] | None = None
        with flow, progress_bar(ref.name, len(span), shown=progress) as advance:
            for part in flow.results():
                advance(part.hi - part.lo)
                if best is not None and part.lo > best[0]:
                    continue
                value = _values(part)[0]
                if value is not None:
                    best = (part.lo, value)
                    flow.stop(after=part.lo)
        return None if best is None else best[1]

    def share(self, array: np.ndarray[Any, Any]) -> SharedArray:
        """A copy of the array in memory that all workers see, for calls to take as an argument; ends with the cluster.

        Raises `Unsupported` where workers may be on other machines, `ConfigError` for an array of Python objects,
        `StoreFull` where it does not fit into memory.
        """
        self._check()
        self.check_one_machine()
        from oche.sharing.arrays import SharedArray  # here, for numpy comes with it

        shared = SharedArray.of(array)
        self._shared.append(shared)
        return shared

    def check_one_machine(self) -> None:
        """Raises `Unsupported` where workers may be on other machines, whose memory this one does not share."""
        if self.store is None or not self.store.traits.here_only:
            raise Unsupported(
                f"workers of {self.url} may be on other machines, which share no memory with this one; "
                "if all are here, say connect(url, store='memory:'), else give the array to the calls themselves"
            )

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """No more calls. `wait`: returns when all are done. `cancel_futures`: what is not done is called off.

        In a forked copy of the program it does nothing: the original needs all of it still.
        """
        if os.getpid() != self._pid:
            return
        with self._closing:
            first, self._closed = not self._closed, True
        atexit.unregister(self.leave)
        if cancel_futures:
            self._abandon()
        if not first:
            return
        if wait:
            self._finish(cancel_futures)
        else:
            threading.Thread(target=self._finish, args=(cancel_futures,), name="oche-shutdown").start()

    def _abandon(self) -> None:
        for future in self._submitter.abandon():
            future.cancel()

    def leave(self) -> None:
        """The program ends without a shutdown: what is out is waited for, but not for a broker that stays away."""
        self._desk.be_patient(LEAVING)
        self.shutdown()

    def _finish(self, now: bool) -> None:
        try:
            while not now and (self._submitter.waiting or self._desk.outstanding or self._unread):
                for results in self._unread[:]:
                    self._unread.remove(results)
                    collections.deque(results, maxlen=0)
                self._submitter.send()
                self._desk.wait_empty()
        finally:
            with ExitStack() as end:
                if self.store is not None:
                    end.callback(self.store.close)
                for shared in self._shared:
                    end.callback(shared.close)
                end.callback(self._on_close)
                end.callback(self._abandon)  # what another thread submitted meanwhile
                end.callback(self._submitter.close)
                end.callback(self._desk.close)

    def _check(self) -> None:
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        self._desk.check()

    def _ordered(
        self, fn: Callable[..., T], tuples: Iterable[tuple[Any, ...]], length: int | None,
        timeout: float | None, chunksize: int | None, progress: bool,
    ) -> Results[T]:  # fmt: skip
        flow = self._items(fn, tuples, length, timeout, chunksize)

        def results() -> Iterator[T]:
            waiting: dict[int, Part] = {}
            head = 0
            with flow, progress_bar(_name(fn), length, shown=progress) as advance:
                for part in flow.results():
                    waiting[part.lo] = part
                    while head in waiting:
                        ready = waiting.pop(head)
                        yield from _values(ready)
                        advance(ready.hi - ready.lo)
                        head = ready.hi

        return Results(results(), self._unread.append)

    def _items(
        self, fn: Callable[..., Any], tuples: Iterable[tuple[Any, ...]], length: int | None,
        timeout: float | None, chunksize: int | None,
    ) -> Flow:  # fmt: skip
        if chunksize is not None and chunksize < 1:
            raise ConfigError(
                f"chunksize is {chunksize}; a job has at least one call (leave it out to have it measured)"
            )
        deadline = None if timeout is None else time.monotonic() + timeout
        ref = self._references.get(fn)
        source = Items(tuples, length, ref, self._maker)
        chunksize = 1 if ref.options.alone else chunksize
        return self._flow(ref, source, fn, b"map", "items", chunksize, deadline)

    def _flow(
        self, ref: TaskRef, source: Source, fn: Callable[..., Any], what: bytes, unit: str,
        size: int | None = None, deadline: float | None = None,
    ) -> Flow:  # fmt: skip
        self._check()
        self._desk.lacking.check(ref.name, ref.options)
        op = self._op(what, ref, fn, encode_call(ref.args, ref.kwargs)) if self._desk.journal is not None else b""
        pace = self._paces.setdefault((ref.name, unit), Pace(self._desk.slots))
        return Flow(self._desk, self._maker, ref, source, pace, size=size, op=op, deadline=deadline)

    def _op(self, what: bytes, ref: TaskRef, fn: Callable[..., Any], arguments: bytes) -> bytes:
        """Names an operation of a named run: the n-th of its kind has the same name each time the program runs."""
        name = b"\n".join((what, identity(ref, fn), arguments))
        self._seen[name] += 1
        return hashlib.sha256(b"%d\n%b" % (self._seen[name], name)).digest()


def _values(part: Part) -> list[Any]:
    """The values of a piece; raises the first error in it."""
    if part.errors:
        raise part.errors[min(part.errors)]
    return part.values


def _length(items: Iterable[Any]) -> int | None:
    length = length_hint(items, -1)
    return None if length < 0 else length


def _name(fn: Callable[..., Any]) -> str:
    while isinstance(fn, partial):
        fn = fn.func
    return getattr(fn, "__name__", type(fn).__name__)
