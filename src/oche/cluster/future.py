"""The caller's handle on one call: a standard Future that can also stop a call that runs, and can be awaited."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent import futures
from concurrent.futures import InvalidStateError
from typing import Any, TypeVar

T = TypeVar("T")


class Future(futures.Future[T]):
    """A `concurrent.futures.Future`; `cancel` works on a call that is already running, too.

    `worker` ("host:pid/slot") and `output` (what the call's job printed, as (stream, text) pairs) are set
    before the result is. `await` waits without blocking the event loop; cancelling the waiting task cancels the call.
    """

    def __init__(self, on_cancel: Callable[[Future[Any]], None]) -> None:
        super().__init__()
        self._on_cancel = on_cancel
        self.dropped = False  # cancelled: the call need not travel any more
        self.job: object = None  # what it travels in, while it does
        self.worker = ""
        self.output: list[tuple[str, str]] = []

    def cancel(self) -> bool:
        """True unless the call is done: a waiting call is dropped, a running one is told to stop, and then made to."""
        if self.cancelled():
            return True
        if not super().cancel():
            return False
        self.dropped = True
        self.set_running_or_notify_cancel()  # wakes wait() and as_completed()
        self._on_cancel(self)
        return True

    def __await__(self) -> Generator[Any, None, T]:
        import asyncio  # here, for a program that does not use it

        return asyncio.wrap_future(self).__await__()

    def resolve(self, value: T) -> None:
        """Sets the result, unless the caller cancelled first."""
        try:
            self.set_result(value)
        except InvalidStateError:
            return

    def fail(self, error: BaseException) -> None:
        """Sets the exception, unless the caller cancelled first."""
        try:
            self.set_exception(error)
        except InvalidStateError:
            return
