"""Tasks for the tests of stores, importable by workers."""

from __future__ import annotations

from oche.stores.arrays import Shared, view
from oche.stores.opening import open_store


def value_size(url: str, name: str) -> int:
    """Bytes of a value that somebody else put there."""
    return open_store(url).get(name).nbytes


def total(shared: Shared) -> float:
    """The sum of an array."""
    return float(view(shared).sum())
