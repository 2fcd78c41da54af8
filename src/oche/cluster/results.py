"""The iterator that `map` returns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

_END: Any = object()


class Results(Iterator[T]):
    """Results as they are asked for. Closed, or dropped half-way, it calls off what is out.

    Dropped before the first was asked for, it goes to `unread`: `map` for the sake of side effects, as in
    `with connect() as cluster: cluster.map(save, pages)`, must run to its end.

    `async for` gives the same results to a coroutine; they are asked for, and the input is pulled, in a thread.
    """

    def __init__(self, results: Iterator[T], unread: Callable[[Iterator[T]], object]) -> None:
        self._results = results
        self._unread: Callable[[Iterator[T]], object] | None = unread

    def __next__(self) -> T:
        self._unread = None
        return next(self._results)

    async def __aiter__(self) -> AsyncIterator[T]:
        import asyncio  # here, for a program that does not use it

        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, "oche-results")  # one, for results are asked for by one thread
        try:
            while (result := await loop.run_in_executor(thread, next, self, _END)) is not _END:
                yield result
        finally:  # not waited for: while a result is being asked for, it comes only after that
            thread.submit(self.close)
            thread.shutdown(wait=False)

    def close(self) -> None:
        """Calls off what is out; there are no more results."""
        if self._unread is not None:  # a generator that was not begun would pass over its end
            self._unread = None
            next(self._results, None)
        self._results.close()  # type: ignore[attr-defined]

    def __del__(self) -> None:
        if self._unread is not None:
            self._unread(self._results)
