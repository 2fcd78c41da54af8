"""Ids of messages, and who remembers which were handled lately.

A message that a stage makes has an id that follows from that of its input: a stage that ran twice, because its worker
died before it could acknowledge the input, publishes the same ids twice, and the next channel drops the second.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from hashlib import blake2b

#: Ids that are remembered of each channel.
WINDOW = 100_000


def new_id() -> str:
    """16 hexadecimal digits that nobody else has."""
    return secrets.token_hex(8)


def derived_id(*parts: object) -> str:
    """16 hexadecimal digits that follow from the parts."""
    text = "\0".join(map(str, parts))
    return blake2b(text.encode(), digest_size=8).hexdigest()


class Lately:
    """The ids that were handled lately: the last `WINDOW` of them. Thread-safe."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, id: str) -> None:
        """It was handled now."""
        with self._lock:
            self._ids[id] = None
            if len(self._ids) > self._window:
                self._ids.popitem(last=False)

    def __contains__(self, id: object) -> bool:
        return id in self._ids
