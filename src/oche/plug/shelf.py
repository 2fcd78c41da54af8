"""Arrays that batches of calls name, in the store as long as a batch that is out names them.

The same memory is put once, however many batches hold it, so it may not change in between; joblib's own backends ask
the same. It is kept from being freed meanwhile, lest another array come to lie at its address.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from oche.stores.arrays import ArrayRef, share
from oche.stores.seam import Store

#: Bytes that no batch names and that stay for the next one of the same call.
IDLE = 256 << 20


@dataclass(slots=True)
class _Entry:
    ref: ArrayRef
    memory: memoryview
    users: int = 0


class Shelf:
    """One for a backend. Thread-safe; what is on it is gone when its store is closed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._entries: OrderedDict[tuple[int, int], _Entry] = OrderedDict()  # by address and size; the latest last
        self._single = itertools.count(-1, -1)  #: in place of the address, for what one batch names
        self._lock = threading.Lock()

    def leave(self, memory: memoryview, *, once: bool = False) -> ArrayRef:
        """A reference to this memory as an array of bytes, for one batch more; `once`: for it alone, as it is now.

        Raises `StoreFull`, `StoreError`.
        """
        array = np.frombuffer(memory, np.uint8)
        key = (next(self._single) if once else array.__array_interface__["data"][0], array.nbytes)
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                ref = share(self._store, array)
                assert isinstance(ref, ArrayRef)
                entry = self._entries[key] = _Entry(ref, memory)
            entry.users += 1
            self._entries.move_to_end(key)
            return entry.ref

    def done(self, refs: Iterable[ArrayRef], *, lost: bool = False) -> None:
        """One batch less names these. `lost`: the store does not have all of them any more."""
        names = {ref.name for ref in refs}
        with self._lock:
            for key, entry in list(self._entries.items()):
                if entry.ref.name in names:
                    entry.users -= 1
                    if lost or key[0] < 0:  # whoever names it next is to have it put again
                        self._forget(key)
            self._shrink(IDLE)

    def clear(self) -> None:
        """Forgets what no batch names."""
        with self._lock:
            self._shrink(0)

    def _shrink(self, room: int) -> None:
        idle = [key for key, entry in self._entries.items() if not entry.users]
        over = sum(size for _, size in idle) - room
        for key in idle:
            if over <= 0:
                break
            self._forget(key)
            over -= key[1]

    def _forget(self, key: tuple[int, int]) -> None:
        self._store.delete(self._entries.pop(key).ref.name)
