"""One thread of BLAS a job: jobs are what runs in parallel, and how threads share a sum shows in its last bits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Limit:
    """The number of BLAS's threads belongs to the process, and calls may overlap there: the last to go restores it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._controller: Any = None
        self._limited: Any = None

    def enter(self) -> None:
        with self._lock:
            if not self._inside:
                self._controller = self._controller or _libraries()
                self._free()
                self._limited = self._controller.limit(limits=1, user_api="blas")
                self._free()
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._free()
                self._limited.restore_original_limits()
                self._free()

    def _free(self) -> None:
        """From threadpoolctl 3.8 on the first thread that sets a number owns it, and others are ignored in silence."""
        for library in self._controller.lib_controllers:
            if hasattr(library, "clear_controlling_thread"):
                library.clear_controlling_thread(force=True)


def _libraries() -> Any:
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()  # looks through the libraries of the process: 2 ms


# A process has one BLAS; this is that fact, not a cache.
_limit = _Limit()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """While it is open, BLAS computes in the thread that calls it; for all threads of this process."""
    _limit.enter()
    try:
        yield
    finally:
        _limit.leave()
