"""What large jobs leave in the store on their way: values by content, each there as long as a job that is out names it.

The same bytes are put once, however many jobs name them. While one does, they are kept here, too: a store that drops
them, or begins anew, gets them again. What no job names any more may be named again soon, so the latest stay.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from oche.stores.seam import Store
from oche.wire.stored import Stored, digest_of

#: Bytes in the store that no job names and that stay for the next one.
IDLE = 256 << 20


@dataclass(slots=True)
class _Entry:
    name: str
    size: int
    users: int = 0
    data: bytes = b""  #: as long as it has users


class Depot:
    """One for a run. Thread-safe; every verb may raise `StoreError`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # by digest; the latest last
        # Nobody looks whether what waits is still there: a store that drops values by itself would lose jobs a try.
        self._room = IDLE if store.traits.keeps else 0
        self._lock = threading.Lock()

    def leave(self, data: bytes) -> Stored:
        """A reference to these bytes, for one job more."""
        digest = digest_of(data)
        with self._lock:
            entry = self._entries.get(digest)
            if entry is None:
                entry = self._entries[digest] = _Entry(self.store.put(data), len(data), 1, data)
            else:
                self._use(entry, digest, data)
            return Stored(entry.name, digest)

    def claim(self, stored: Stored, data: bytes) -> Stored:
        """For a job of an earlier life of this run: what its reference leads to, if it still does, is this."""
        with self._lock:
            entry = self._entries.setdefault(stored.digest, _Entry(stored.name, len(data)))
            self._use(entry, stored.digest, data)
            return stored

    def again(self, stored: Stored) -> Stored:
        """Another reference to the same bytes, for the same job: what this one leads to is lost."""
        with self._lock:
            entry = self._entries[stored.digest]
            if entry.name == stored.name:  # else another job has said so before
                self.store.delete(entry.name)
                entry.name = self.store.put(entry.data)
            return Stored(entry.name, stored.digest)

    def done(self, used: Iterable[Stored]) -> None:
        """One job less names each of these."""
        with self._lock:
            for stored in used:
                entry = self._entries[stored.digest]
                entry.users -= 1
                if not entry.users:
                    entry.data = b""
            idle = {digest: entry for digest, entry in self._entries.items() if not entry.users}
            over = sum(entry.size for entry in idle.values()) - self._room
            for digest, entry in idle.items():
                if over <= 0:
                    break
                del self._entries[digest]
                self.store.delete(entry.name)
                over -= entry.size

    def _use(self, entry: _Entry, digest: str, data: bytes) -> None:
        entry.users += 1
        entry.data = data
        self._entries.move_to_end(digest)
