"""Values that this process has read lately, so that an array travels over the network once for all its jobs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable


class Lately:
    """Keeps values up to so many bytes together; the least recently used make room. Thread-safe."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._kept: OrderedDict[Hashable, memoryview] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable, read: Callable[[], memoryview]) -> memoryview:
        """The value under this key, by `read` if it is not kept. What is larger than all the room is not kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        value = read()
        with self._lock:
            if value.nbytes <= self._room and key not in self._kept:  # another thread may have read it, too
                self._kept[key] = value
                self._bytes += value.nbytes
            while self._bytes > self._room:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return value
