"""Values that a store holds for others to accept: how long, and which of them it may forget."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from oche.stores.parts import LIFE
from oche.stores.seam import Buffer, Store


class Given:
    """Names of values that were given and may not have been accepted. Thread-safe."""

    def __init__(self) -> None:
        self._names: deque[tuple[float, str]] = deque()  # with when that was; the oldest first
        self._lock = threading.Lock()

    def give(self, store: Store, data: Buffer, gone: Callable[[str], bool]) -> str:
        """Puts data as a value of the store; those that are gone, or that nobody wanted for `LIFE` seconds, it forgets.

        `gone` says whether a value was accepted.
        """
        for name in self._ended(gone):
            store.delete(name)
        name = store.put(data)
        with self._lock:
            self._names.append((time.monotonic(), name))
        return name

    def _ended(self, gone: Callable[[str], bool]) -> list[str]:
        with self._lock:
            late = time.monotonic() - LIFE
            ended = [name for since, name in self._names if since < late or gone(name)]
            over = set(ended)
            self._names = deque((since, name) for since, name in self._names if name not in over)
        return ended
