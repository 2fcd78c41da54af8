"""Map and reduce (Dean & Ghemawat, OSDI 2004), and the words of files as its first use.

    inputs   -- mapper -->  (key, value) pairs, by key in buckets  -- reducer -->  {key: result}
    a call maps many inputs                                           a call reduces a few buckets of all maps

Which bucket a key falls in follows from its text in the codec, never from Python's hash, which differs between
processes. Pairs go from worker to worker by way of the store, where one is at hand, and through the client elsewhere.
"""

from __future__ import annotations

import itertools
import math
import operator
import zlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

import numpy as np

from oche.algorithms.team import Team, spans
from oche.errors import ConfigError, StoreError, Unsendable
from oche.stores.arrays import Array, ArrayRef, Shared, blank, place, view
from oche.stores.seam import Store
from oche.wire.codec import decode_values, encode_values

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
R = TypeVar("R")

#: Map calls at most: enough for some dozens of slots, few enough that a reduce call can name all their drawers.
MAPS = 256
#: Buckets that each map call sorts its keys into.
BUCKETS = 64
#: Bytes of pairs that make a reduce call worth its while.
ENOUGH = 2**20
#: The same where they travel in the call itself: brokers take 64 KiB and more. No result depends on who reduces what.
ENOUGH_INLINE = 2**14
#: Bytes that a call may leave in the store. Room that it does not use costs nothing; what is more than that travels
#: in its outcome.
DRAWER = 2**26


def map_reduce(
    mapper: Callable[[T], Iterable[tuple[K, V]]],
    reducer: Callable[[K, list[V]], R],
    inputs: Iterable[T],
    *,
    combine: Callable[[V, V], V] | None = None,
    cluster: Executor | None = None,
    progress: bool = False,
) -> dict[K, R]:
    """{key: reducer(key, values)} for all pairs (key, value) of mapper(item), over all inputs.

    The values of a key come in the order of the inputs. An associative `combine(a, b)` makes one value of those that a
    map call has for a key, and so less to send. Keys come back in order: numbers, then texts, then all others; tuples
    by their parts. Keys, values and results are plain data: what JSON, the standard library and numpy have.

    Nothing depends on engine or workers, as long as the functions give the same for the same. Raises what they raise,
    `Unsendable` for other data, `ConfigError` for equal keys of types that cannot be told to be equal (1 and
    Decimal(1)), and what the cluster raises.
    """
    items = list(inputs)
    cuts = spans(len(items), max(1, math.ceil(len(items) / MAPS)))
    with Team(cluster, progress=progress) as team:
        drawers = [_drawer(team) for _ in cuts]
        calls = ((items[lo:hi], drawer) for (lo, hi), drawer in zip(cuts, drawers, strict=True))
        mapped = team.round(_map, calls, mapper=mapper, combine=combine)
        held = [(_held(drawer, there), ends) for drawer, (ends, there) in zip(drawers, mapped, strict=True)]
        enough = ENOUGH if any(drawer.name for drawer in drawers) else ENOUGH_INLINE
        groups = _groups([ends for _, ends in held], enough)
        results = [_drawer(team) for _ in groups]
        chosen = (
            ([_part(shared, ends[lo], ends[hi]) for shared, ends in held if ends[lo] < ends[hi]], drawer)
            for (lo, hi), drawer in zip(groups, results, strict=True)
        )
        reduced = team.round(_reduce, chosen, reducer=reducer)
        found: dict[K, R] = {}
        for drawer, (size, there) in zip(results, reduced, strict=True):
            for key, (result,) in _pairs(_part(_held(drawer, there), 0, size), team.store):
                if key in found:
                    raise ConfigError(f"the key {key!r} also came as another type that Python calls equal; convert it")
                found[key] = result
    return {key: found[key] for key in sorted(found, key=_rank)}


def _map(
    items: Sequence[Any], drawer: ArrayRef, *, mapper: Callable[..., Any], combine: Callable[..., Any] | None
) -> tuple[list[int], Array | None]:
    """Where each bucket ends in the drawer, or in what is returned with that."""
    values: dict[Any, list[Any]] = {}
    for key, value in itertools.chain.from_iterable(map(mapper, items)):
        mine = values.get(key)
        if mine is None:
            values[key] = [value]
        elif combine is None:
            mine.append(value)
        else:
            mine[0] = combine(mine[0], value)
    buckets: list[list[Any]] = [[] for _ in range(BUCKETS)]
    # In order of their texts: a set in the mapper, whose order is chance, must not make other bytes in a second try.
    for text, key in sorted(((_text(key), key) for key in values), key=operator.itemgetter(0)):
        buckets[zlib.crc32(text.encode("utf-8", "surrogatepass")) % BUCKETS].append(key)
    lines = [_line(values, keys) for keys in buckets]
    return list(itertools.accumulate(map(len, lines), initial=0)), _put(drawer, b"".join(lines))


def _reduce(
    parts: list[tuple[Shared, int, int]], drawer: ArrayRef, *, reducer: Callable[..., Any]
) -> tuple[int, Array | None]:
    """How many bytes of results are in the drawer, or in what is returned with that."""
    values: dict[Any, list[Any]] = {}
    for part in parts:
        for key, some in _pairs(part):
            values.setdefault(key, []).extend(some)
    line = _line({key: [reducer(key, some)] for key, some in values.items()}, values)
    return len(line), _put(drawer, line)


def _groups(ends: Sequence[Sequence[int]], enough: int) -> list[tuple[int, int]]:
    """Neighbouring buckets lo .. hi - 1 that have enough bytes together, over all maps; none that are empty."""
    groups, lo, size = [], 0, 0
    for bucket in range(BUCKETS):
        size += sum(e[bucket + 1] - e[bucket] for e in ends)
        if size >= enough or (size and bucket == BUCKETS - 1):
            groups.append((lo, bucket + 1))
            lo, size = bucket + 1, 0
    return groups


def _text(key: Any) -> str:
    """A text of a key, the same in every process; numbers that Python calls equal have the same."""
    if type(key) is str:
        return '"' + key
    if type(key) in (bool, float) and key % 1 == 0:
        key = int(key)
    return _encoded([key]).decode()


def _rank(key: Any) -> tuple[int, Any]:
    """By this keys of all types are in one order, the same in every process."""
    if type(key) in (int, float) and key == key:
        return 0, key
    if type(key) is str:
        return 1, key
    if type(key) is tuple:
        return 2, tuple(map(_rank, key))
    return 3, _encoded([key])


def _line(values: dict[Any, list[Any]], keys: Iterable[Any]) -> bytes:
    """These keys with their values, on a line that begins with its checksum; nothing for no keys."""
    columns = [keys := list(keys), [len(values[key]) for key in keys], [v for key in keys for v in values[key]]]
    line = b"\t".join(map(_encoded, columns))
    return b"%08x\t%b\n" % (zlib.crc32(line), line) if keys else b""


def _pairs(part: tuple[Shared, int, int], store: Store | None = None) -> Iterator[tuple[Any, list[Any]]]:
    """Keys and their values, of all lines in a part."""
    shared, lo, hi = part
    for line in view(shared, store)[lo:hi].tobytes().splitlines():
        check, _, text = line.partition(b"\t")
        if check != b"%08x" % zlib.crc32(text):
            raise StoreError(
                "a second try of a map_reduce call left other bytes than the first; let mapper and reducer give the "
                "same for the same: sorted lists in place of sets"
            )
        keys, counts, values = (decode_values(column, trusted=False) for column in text.split(b"\t"))
        rest = iter(values)
        for key, count in zip(keys, counts, strict=True):
            yield key, list(itertools.islice(rest, count))


def _encoded(values: list[Any]) -> bytes:
    try:
        return encode_values(values, pickles=False)
    except Unsendable as error:
        raise Unsendable(
            f"{error}. (Keys, values and results of map_reduce wait in a store, which nobody signs: "
            "they are numbers, texts, bytes, tuples, lists, dicts, arrays and the like)"
        ) from error


def _drawer(team: Team) -> ArrayRef:
    """In a store that is a server all of it would be taken, and travel: there the bytes go in the outcomes."""
    mapped = team.store is not None and team.store.traits.mapped
    return team.blank((DRAWER,), np.dtype(np.uint8)) if mapped else blank(None, (DRAWER,), np.dtype(np.uint8))


def _put(drawer: ArrayRef, data: bytes) -> Array | None:
    """Leaves the bytes in the drawer, or returns them for the outcome."""
    block = np.frombuffer(data, np.uint8)
    return block if len(data) > DRAWER else place(drawer, (0,), block)


def _held(drawer: ArrayRef, there: Array | None) -> Shared:
    return drawer if there is None else there


def _part(shared: Shared, lo: int, hi: int) -> tuple[Shared, int, int]:
    """What a call needs to see bytes lo .. hi - 1: no more of an array than these."""
    return (shared, lo, hi) if isinstance(shared, ArrayRef) else (shared[lo:hi], 0, hi - lo)
