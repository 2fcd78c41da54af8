"""What an algorithm computes with: any executor, or none, and arrays that travel by reference where that can be.

    with Team(cluster) as team:
        shared = team.share(a)                              # to be seen by every worker
        out = team.blank(a.shape, a.dtype)                  # to be filled by them
        done = team.round(_double, spans, shared=shared, out=out)
        return team.collect(out, [((lo,), block) for (lo, _), block in zip(spans, done)])

    @task(crashes=CRASHES)
    def _double(lo, hi, *, shared, out):
        return place(out, (lo,), 2 * view(shared)[lo:hi])

How a problem is cut follows from its size alone, never from the number of slots or from time: so a result made of
floats is the same on every engine, to the last bit.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Self, TypeVar

import numpy as np

from oche.cluster.executor import Cluster
from oche.errors import Unsupported
from oche.stores.arrays import Array, ArrayRef, Shared, blank, collect, share
from oche.stores.opening import open_store
from oche.stores.seam import Store

T = TypeVar("T")

#: Further tries for a call whose worker died: the calls of algorithms kill nobody, so somebody else did.
CRASHES = 20
#: Calls handed to an executor that is no cluster of ours, and not yet done, by slot.
AHEAD = 4


class Team:
    """An executor's rounds and arrays for one run of an algorithm; leave it with `with`: what it shared then goes.

    `executor` may be a cluster of oche's, any other PEP 3148 executor (taken to have its workers on this machine),
    or None: then all is computed here, one call after the other.
    """

    def __init__(self, executor: Executor | None, *, progress: bool = False) -> None:
        self.store: Store | None  #: for arrays; None where they travel in calls and outcomes
        self._executor = executor
        self._progress = progress
        self._names: list[str] = []
        self._own: Store | None = None
        if isinstance(executor, Cluster):
            self.store = executor.store
        elif executor is None or isinstance(executor, ThreadPoolExecutor):
            self.store = None  # one process: arrays need not travel
        else:
            with suppress(Unsupported):
                self._own = open_store("memory:")
            self.store = self._own

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """The values go; who still has one open, a late attempt for one, keeps it until it is done."""
        with ExitStack() as end:  # one that cannot be deleted does not keep the others
            if self._own is not None:
                end.callback(self._own.close)
            for name in self._names:
                if self.store is not None:
                    end.callback(self.store.delete, name)

    @property
    def slots(self) -> int:
        """Calls that run at a time, as well as can be known; it bounds what is out, and no result depends on it."""
        if self._executor is None:
            return 1
        slots = getattr(self._executor, "slots", None) or getattr(self._executor, "_max_workers", None)
        return slots if isinstance(slots, int) and slots > 0 else os.cpu_count() or 1

    def round(self, fn: Callable[..., T], calls: Iterable[tuple[Any, ...]], **common: Any) -> list[T]:
        """fn(*call, **common) for each call, in their order, once all are done. Raises what the first bad call did."""
        work = partial(fn, **common) if common else fn
        if self._executor is None:
            return [work(*call) for call in calls]
        if isinstance(self._executor, Cluster):
            return list(self._executor.starmap(work, calls, chunksize=1, progress=self._progress))
        return list(self._submitted(self._executor, work, calls))

    def first(self, fn: Callable[[int, int], T | None], span: range, piece: int) -> T | None:
        """The answer of fn(lo, hi) that is not None for the lowest part of the span that has one.

        A cluster cuts the span by measured time and calls off what is above an answer; elsewhere parts have `piece`
        items, and what runs above an answer runs to its end.
        """
        if isinstance(self._executor, Cluster):
            return self._executor.first(fn, span, progress=self._progress)
        spans = ((lo, min(lo + piece, span.stop)) for lo in range(span.start, span.stop, piece))
        if self._executor is None:
            answers: Iterator[T | None] = (fn(lo, hi) for lo, hi in spans)
        else:
            answers = self._submitted(self._executor, fn, spans)
        return next((answer for answer in answers if answer is not None), None)

    def _submitted(self, executor: Executor, fn: Callable[..., T], calls: Iterable[tuple[Any, ...]]) -> Iterator[T]:
        """Each result in order, with a bounded number of calls under way; those are given up if one fails."""
        waiting: deque[Future[T]] = deque()
        try:
            for call in calls:
                if len(waiting) >= AHEAD * self.slots:
                    yield waiting.popleft().result()
                waiting.append(executor.submit(fn, *call))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def share(self, array: Array) -> Shared:
        """The array, to be given to calls, which `view` it."""
        shared = share(self.store, array)
        self._keep(shared)
        return shared

    def blank(self, shape: Sequence[int], dtype: np.dtype[Any]) -> ArrayRef:
        """An array to be filled by calls, which `place` blocks in it."""
        out = blank(self.store, shape, dtype)
        self._keep(out)
        return out

    def _keep(self, shared: Shared) -> None:
        if isinstance(shared, ArrayRef) and shared.name:
            self._names.append(shared.name)

    def collect(self, out: ArrayRef, pieces: Iterable[tuple[Sequence[int], Array | None]]) -> Array:
        """The filled array, writable and the caller's own; `pieces`: what `place` returned, by where that begins."""
        return collect(self.store, out, pieces)


def spans(n: int, size: int) -> list[tuple[int, int]]:
    """0 .. n in parts of `size`, the last one shorter; none for n = 0."""
    return [(lo, min(lo + size, n)) for lo in range(0, n, size)]
