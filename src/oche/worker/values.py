"""Values in the stores that jobs name: arguments and functions to be got, large results to be given."""

from __future__ import annotations

import threading

from oche.stores.lately import Lately
from oche.stores.opening import reach_store
from oche.stores.seam import Store
from oche.wire.job import Job
from oche.wire.stored import Stored, check_digest, digest_of, each_argument, read_stored, references

#: Bytes of arguments from a network that a child keeps for its next jobs.
KEPT = 128 << 20


class Values:
    """A process's way to the stores, each opened at first need. Thread-safe. Use it for signed jobs only.

    Every verb raises `StoreError`, and `ConfigError` where a store cannot be opened.
    """

    def __init__(self) -> None:
        self._stores: dict[str, Store] = {}
        self._lately = Lately(KEPT)
        self._lock = threading.Lock()

    def whole(self, job: Job, calls: bytes) -> bytes:
        """Some calls of the job with every argument in its place. Raises `ValueLost`."""
        if not references(calls):
            return calls

        def fetched(part: bytes) -> bytes:
            stored = read_stored(part)
            return part if stored is None else bytes(self._get(job.store, stored))

        return each_argument(calls, fetched)

    def code(self, job: Job) -> str:
        """The job's function as text. Raises `ValueLost`."""
        stored = read_stored(job.code)
        return job.code if stored is None else str(self._get(job.store, stored), "ascii")

    def give(self, url: str, data: bytes) -> Stored:
        """Leaves it for the client."""
        return Stored(self._reach(url).give(data), digest_of(data))

    def close(self) -> None:
        """What nobody has accepted goes."""
        with self._lock:
            stores, self._stores = list(self._stores.values()), {}
        for store in stores:
            store.close()

    def _get(self, url: str, stored: Stored) -> memoryview:
        store = self._reach(url)

        def read() -> memoryview:
            data = store.get(stored.name)
            check_digest(data, stored)
            return data

        return read() if store.traits.mapped else self._lately.get((url, stored), read)

    def _reach(self, url: str) -> Store:
        with self._lock:
            if url not in self._stores:
                self._stores[url] = reach_store(url)
            return self._stores[url]
