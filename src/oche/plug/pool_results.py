"""What a `Pool` gives for calls that are not done: `AsyncResult` and `IMapIterator`, as multiprocessing has them."""

from __future__ import annotations

import collections
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from multiprocessing import TimeoutError
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class AsyncResult(Generic[T]):
    """What will come of `apply_async`, `map_async` or `starmap_async`."""

    def __init__(
        self, future: futures.Future[T], callback: Callable[[T], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> None:  # fmt: skip
        self._future, self._callback, self._error_callback = future, callback, error_callback
        self._told = threading.Event()  # after the callback, which whoever waited may rely on
        future.add_done_callback(self._tell)

    def get(self, timeout: float | None = None) -> T:
        """The value. Raises what the call raised, `multiprocessing.TimeoutError` after so many seconds without it."""
        self.wait(timeout)
        if not self.ready():
            raise TimeoutError
        return self._future.result()

    def wait(self, timeout: float | None = None) -> None:
        """Returns when the call is done, or after so many seconds."""
        self._told.wait(timeout)

    def ready(self) -> bool:
        """Whether the call is done."""
        return self._told.is_set()

    def successful(self) -> bool:
        """Whether it raised nothing. Raises `ValueError` before it is done."""
        if not self.ready():
            raise ValueError("the call is not done yet; ask `ready()` first, or `wait()`")
        return _error(self._future) is None

    def _tell(self, future: futures.Future[T]) -> None:
        error = _error(future)
        try:
            if error is None and self._callback is not None:
                self._callback(future.result())
            if error is not None and self._error_callback is not None:
                self._error_callback(error)
        finally:
            self._told.set()


class IMapIterator(Iterator[T]):
    """Results as they are asked for, in their order or as they come; a call that raised raises at its place.

    A few items are pulled at first, and as results are asked for up to `ahead` more than that.
    """

    def __init__(
        self, submit: Callable[[Any], futures.Future[T]], items: Iterable[Any], *, first: int, ahead: int, ordered: bool
    ) -> None:
        self._submit, self._items, self._ordered = submit, iter(items), ordered
        self._target, self._ahead = first, ahead
        self._lock = threading.Lock()
        self._waiting: collections.deque[futures.Future[T]] = collections.deque()  # in order, not asked for yet
        self._done: queue.SimpleQueue[futures.Future[T]] = queue.SimpleQueue()
        self._left = 0  # submitted and not asked for yet
        self.ended = False  #: whether all items are submitted
        self.fill(first)

    def next(self, timeout: float | None = None) -> T:
        """The next result. Raises `multiprocessing.TimeoutError` after so many seconds, and may be asked again."""
        self._target = min(self._target + 1, self._ahead)
        self.fill(self._target)
        with self._lock:
            if not self._left:
                raise StopIteration
            self._left -= 1
            head = self._waiting.popleft() if self._ordered else None
        future = self._any(timeout) if head is None else head
        if future is None or not _over(future, timeout):
            with self._lock:
                self._left += 1
                if head is not None:
                    self._waiting.appendleft(head)
            raise TimeoutError
        return future.result()

    __next__ = next

    def fill(self, ahead: float) -> None:
        """Submits items until so many results are to be asked for; infinity is all of them."""
        while self._fill_one(ahead):
            pass

    def _fill_one(self, ahead: float) -> bool:
        with self._lock:
            if self._left >= ahead or self.ended:
                return False
            try:
                future = self._submit(next(self._items))
            except StopIteration:
                self.ended = True
                return False
            except Exception as error:  # of the caller's own iterable: it has a place, as a result has
                self.ended = True
                future = futures.Future()
                future.set_exception(error)
            self._left += 1
            if self._ordered:
                self._waiting.append(future)
            else:
                future.add_done_callback(self._done.put)
            return True

    def _any(self, timeout: float | None) -> futures.Future[T] | None:
        try:
            return self._done.get(timeout=timeout)
        except queue.Empty:
            return None


def _over(future: futures.Future[Any], timeout: float | None) -> bool:
    """Whether it is done within so many seconds; what the call raised, perhaps a timeout, does not matter."""
    try:
        _error(future, timeout)
    except futures.TimeoutError:
        return False
    return True


def _error(future: futures.Future[Any], timeout: float | None = None) -> BaseException | None:
    try:
        return future.exception(timeout)
    except futures.CancelledError as error:
        return error
