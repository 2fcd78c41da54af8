"""oche: a fault-tolerant compute cluster for parallel Python, on the queue server you have, or on none at all.

    with oche.connect() as cluster:                  # this machine; or connect("beanstalkd://host")
        print(list(cluster.map(math.sqrt, range(10))))

Names are imported when they are first used, so that `import oche` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oche import errors as errors
    from oche import streams as streams
    from oche.algorithms import trees as trees
    from oche.algorithms.cells import matmul_cells as matmul_cells
    from oche.algorithms.factors import find_factor as find_factor
    from oche.algorithms.factors import prime_factors as prime_factors
    from oche.algorithms.factors import smallest_factor as smallest_factor
    from oche.algorithms.fill import fill_random as fill_random
    from oche.algorithms.integrate import Integral as Integral
    from oche.algorithms.integrate import integrate as integrate
    from oche.algorithms.integrate import points as points
    from oche.algorithms.linalg import matmul as matmul
    from oche.algorithms.linalg import matvec as matvec
    from oche.algorithms.list_ranking import list_rank as list_rank
    from oche.algorithms.list_ranking import list_rank_jumping as list_rank_jumping
    from oche.algorithms.map_reduce import map_reduce as map_reduce
    from oche.algorithms.pi import PiResult as PiResult
    from oche.algorithms.pi import pi as pi
    from oche.algorithms.primality import is_prime as is_prime
    from oche.algorithms.primes import count_primes as count_primes
    from oche.algorithms.primes import primes as primes
    from oche.algorithms.reduction import histogram as histogram
    from oche.algorithms.reduction import reduce as reduce
    from oche.algorithms.scan import scan as scan
    from oche.algorithms.sort import argsort as argsort
    from oche.algorithms.sort import sort as sort
    from oche.algorithms.words import word_count as word_count
    from oche.cluster.executor import Cluster as Cluster
    from oche.cluster.future import Future as Future
    from oche.engines.opening import connect as connect
    from oche.engines.over import over as over
    from oche.plug.pool import Pool as Pool
    from oche.sharing.arrays import SharedArray as SharedArray
    from oche.sharing.counter import Counter as Counter
    from oche.sharing.locks import FileLock as FileLock
    from oche.sharing.locks import Lock as Lock
    from oche.wire.task import task as task
    from oche.worker.context import Context as Context
    from oche.worker.context import current as current
    from oche.worker.context import stop_byte as stop_byte
    from oche.worker.context import stopping as stopping

_HOMES = {
    "Cluster": "oche.cluster.executor",
    "Context": "oche.worker.context",
    "Counter": "oche.sharing.counter",
    "FileLock": "oche.sharing.locks",
    "Future": "oche.cluster.future",
    "Integral": "oche.algorithms.integrate",
    "Lock": "oche.sharing.locks",
    "PiResult": "oche.algorithms.pi",
    "Pool": "oche.plug.pool",
    "SharedArray": "oche.sharing.arrays",
    "argsort": "oche.algorithms.sort",
    "connect": "oche.engines.opening",
    "count_primes": "oche.algorithms.primes",
    "current": "oche.worker.context",
    "errors": "oche.errors",
    "fill_random": "oche.algorithms.fill",
    "find_factor": "oche.algorithms.factors",
    "histogram": "oche.algorithms.reduction",
    "integrate": "oche.algorithms.integrate",
    "is_prime": "oche.algorithms.primality",
    "list_rank": "oche.algorithms.list_ranking",
    "list_rank_jumping": "oche.algorithms.list_ranking",
    "map_reduce": "oche.algorithms.map_reduce",
    "matmul": "oche.algorithms.linalg",
    "matmul_cells": "oche.algorithms.cells",
    "matvec": "oche.algorithms.linalg",
    "over": "oche.engines.over",
    "pi": "oche.algorithms.pi",
    "points": "oche.algorithms.integrate",
    "prime_factors": "oche.algorithms.factors",
    "primes": "oche.algorithms.primes",
    "reduce": "oche.algorithms.reduction",
    "scan": "oche.algorithms.scan",
    "smallest_factor": "oche.algorithms.factors",
    "sort": "oche.algorithms.sort",
    "stop_byte": "oche.worker.context",
    "stopping": "oche.worker.context",
    "streams": "oche.streams",
    "task": "oche.wire.task",
    "trees": "oche.algorithms.trees",
    "word_count": "oche.algorithms.words",
}

#: Names that stand for a whole module.
_MODULES = ("oche.errors", "oche.algorithms.trees", "oche.streams")

__version__ = "0.1.0"
__all__ = [
    "Cluster",
    "Context",
    "Counter",
    "FileLock",
    "Future",
    "Integral",
    "Lock",
    "PiResult",
    "Pool",
    "SharedArray",
    "argsort",
    "connect",
    "count_primes",
    "current",
    "errors",
    "fill_random",
    "find_factor",
    "histogram",
    "integrate",
    "is_prime",
    "list_rank",
    "list_rank_jumping",
    "map_reduce",
    "matmul",
    "matmul_cells",
    "matvec",
    "over",
    "pi",
    "points",
    "prime_factors",
    "primes",
    "reduce",
    "scan",
    "smallest_factor",
    "sort",
    "stop_byte",
    "stopping",
    "streams",
    "task",
    "trees",
    "word_count",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'oche' has no attribute {name!r}; it has {', '.join(__all__)}")
    module = importlib.import_module(home)
    return module if home in _MODULES else getattr(module, name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
