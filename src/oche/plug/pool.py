"""`oche.Pool`: the shape of `multiprocessing.Pool`, on a cluster."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from oche.engines.opening import connect
from oche.errors import ConfigError, OcheError
from oche.plug.pool_results import AsyncResult, IMapIterator

T = TypeVar("T")

#: Results for each slot that `imap` has made ahead of its reader, at most.
AHEAD = 256


class Pool:
    """A cluster for programs that were written for `multiprocessing.Pool`; the same names, arguments and answers.

    Without a URL: `processes` processes of this machine, as many as it has cores, each of which calls
    `initializer(*initargs)` first. With one, what `oche worker URL` has started. `store` is that of `oche.connect`.

    It differs where it can do better: a call whose process died is run again; functions may be made on the spot; `imap`
    pulls its input only as far ahead as its reader needs, and all of it once the pool is closed; a call that
    `terminate` cut off raises `CancelledError`, where multiprocessing would wait for ever.
    """

    def __init__(
        self, processes: int | None = None, initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (), *, url: str | None = None, store: str | None = None,
    ) -> None:  # fmt: skip
        self._cluster = connect(
            url, store=store, max_workers=processes, initializer=initializer, initargs=tuple(initargs)
        )
        self._running = True
        self._closing = threading.Thread(target=self._finish, name="oche-pool")
        self._out: set[futures.Future[Any]] = set()
        self._maps: list[IMapIterator[Any]] = []

    def apply(self, func: Callable[..., T], args: Iterable[Any] = (), kwds: Mapping[str, Any] | None = None) -> T:
        """func(*args, **kwds)."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self, func: Callable[..., T], args: Iterable[Any] = (), kwds: Mapping[str, Any] | None = None,
        callback: Callable[[T], object] | None = None, error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[T]:  # fmt: skip
        """As `apply`, without waiting. A callback should return soon: other results wait for that."""
        self._check()
        return AsyncResult(self._submit(func, *args, **(kwds or {})), callback, error_callback)

    def map(self, func: Callable[[Any], T], iterable: Iterable[Any], chunksize: int | None = None) -> list[T]:
        """func(item) for each item. `chunksize` of them make a job, or as many as measured time says."""
        return self.map_async(func, iterable, chunksize).get()

    def map_async(
        self, func: Callable[[Any], T], iterable: Iterable[Any], chunksize: int | None = None,
        callback: Callable[[list[T]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[list[T]]:  # fmt: skip
        """As `map`, without waiting."""
        items = _sized(iterable)
        return self._mapped(partial(self._cluster.map, func, items, chunksize=chunksize), callback, error_callback)

    def starmap(
        self, func: Callable[..., T], iterable: Iterable[Iterable[Any]], chunksize: int | None = None
    ) -> list[T]:
        """func(*item) for each item."""
        return self.starmap_async(func, iterable, chunksize).get()

    def starmap_async(
        self, func: Callable[..., T], iterable: Iterable[Iterable[Any]], chunksize: int | None = None,
        callback: Callable[[list[T]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[list[T]]:  # fmt: skip
        """As `starmap`, without waiting."""
        items = [tuple(item) for item in iterable]
        return self._mapped(partial(self._cluster.starmap, func, items, chunksize=chunksize), callback, error_callback)

    def imap(self, func: Callable[[Any], T], iterable: Iterable[Any], chunksize: int = 1) -> Iterator[T]:
        """func(item) for each item, in their order, as they are asked for; `next(timeout)` where `chunksize` is 1."""
        return self._imap(func, iterable, chunksize, ordered=True)

    def imap_unordered(self, func: Callable[[Any], T], iterable: Iterable[Any], chunksize: int = 1) -> Iterator[T]:
        """As `imap`, as they come back."""
        return self._imap(func, iterable, chunksize, ordered=False)

    def close(self) -> None:
        """No more calls; when all are done, the cluster ends."""
        if self._running:
            self._running = False
            self._closing.start()

    def terminate(self) -> None:
        """Ends the cluster now; calls that are not done raise `CancelledError`."""
        self._running = False
        self._cluster.shutdown(cancel_futures=True)

    def join(self) -> None:
        """Waits for the end that `close` or `terminate` began. Raises `ValueError` before one of them."""
        if self._running:
            raise ValueError("the pool is still running; close it first, or terminate it")
        if self._closing.ident is not None:
            self._closing.join()

    def __enter__(self) -> Self:
        self._check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.terminate()

    def _check(self) -> None:
        if not self._running:
            raise ValueError("the pool is not running: it was closed; make another one")

    def _submit(self, func: Callable[..., T], /, *args: Any, **kwds: Any) -> futures.Future[T]:
        try:
            future: futures.Future[T] = self._cluster.submit(func, *args, **kwds)
        except OcheError as error:  # what cannot travel is told where the result is asked for
            future = futures.Future()
            future.set_exception(error)
        return self._kept(future)

    def _kept(self, future: futures.Future[T]) -> futures.Future[T]:
        self._out.add(future)
        future.add_done_callback(self._out.discard)
        return future

    def _mapped(
        self, results: Callable[[], Iterable[T]], callback: Callable[[list[T]], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> AsyncResult[list[T]]:  # fmt: skip
        self._check()
        future: futures.Future[list[T]] = self._kept(futures.Future())

        def run() -> None:
            try:
                future.set_result(list(results()))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=run, name="oche-map", daemon=True).start()
        return AsyncResult(future, callback, error_callback)

    def _imap(self, func: Callable[[Any], T], iterable: Iterable[Any], chunksize: int, *, ordered: bool) -> Iterator[T]:
        self._check()
        if chunksize < 1:
            raise ConfigError(f"chunksize is {chunksize}; a job has at least one call")
        call = partial(self._submit, func) if chunksize == 1 else partial(self._submit, run_chunk, func)
        items = iterable if chunksize == 1 else _chunks(iterable, chunksize)
        slots = self._cluster.slots
        ahead = max(2 * slots, AHEAD * slots // chunksize)
        results: IMapIterator[Any] = IMapIterator(call, items, first=2 * slots, ahead=ahead, ordered=ordered)
        self._maps = [each for each in self._maps if not each.ended] + [results]
        return results if chunksize == 1 else itertools.chain.from_iterable(results)

    def _finish(self) -> None:
        """After `close`: what was begun is done, whoever asks for it, unless the pool is terminated meanwhile."""
        for each in self._maps:
            each.fill(math.inf)
        while self._out:
            futures.wait(tuple(self._out))
        self._cluster.shutdown()


def run_chunk(func: Callable[[Any], T], items: Sequence[Any]) -> list[T]:
    """The calls of one chunk of `imap`, on a worker."""
    return [func(item) for item in items]


def _sized(iterable: Iterable[Any]) -> Iterable[Any]:
    """Its items; what may be endless, or may raise, is pulled here and now."""
    return iterable if hasattr(iterable, "__len__") else list(iterable)


def _chunks(iterable: Iterable[Any], size: int) -> Iterator[list[Any]]:
    items = iter(iterable)
    while chunk := list(itertools.islice(items, size)):
        yield chunk
