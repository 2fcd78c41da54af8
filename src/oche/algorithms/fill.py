"""Random numbers into an array, by many processes: bit for bit those that numpy draws alone.

    with SharedArray.create(10**9) as shared, oche.connect() as cluster:
        fill_random(shared, 2024, cluster=cluster)

Number i of a seed is a pure function of (seed, i) (Philox: `oche.kernels.philox64`), so each call makes the numbers
of its part and nobody draws for others. No stream is split, and no cut can be seen in the result.
"""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any, TypeAlias

import numpy as np

from oche.algorithms.team import CRASHES, Team, spans
from oche.cluster.executor import Cluster
from oche.errors import ConfigError
from oche.sharing.arrays import SharedArray
from oche.sharing.gate import Gate
from oche.stores.arrays import Array, ArrayRef, place
from oche.wire.task import task
from oche.worker.context import stop_byte

#: Numbers a call: seven milliseconds, many times what a call costs; a multiple of what a counter makes.
SPAN = 2**21
#: What can be filled.
KINDS = (np.dtype(np.float64), np.dtype(np.float32))

Key: TypeAlias = "tuple[int, int]"


@task(crashes=CRASHES)
def _fill_shared(lo: int, hi: int, *, shared: SharedArray, gate: Gate, key: Key) -> None:
    from oche.kernels.philox64 import fill

    with gate.inside() as allowed:
        if allowed:
            fill(shared.part(lo, hi), lo, key, stop_byte())


@task(crashes=CRASHES)
def _fill_block(lo: int, hi: int, *, out: ArrayRef, key: Key) -> Any:
    from oche.kernels.philox64 import fill

    block = np.empty(hi - lo, out.kind)
    fill(block, lo, key, stop_byte())
    return place(out, (lo,), block)


def fill_random(
    array: SharedArray | Array, seed: int, *, cluster: Executor | None = None, progress: bool = False
) -> None:
    """Fills the array with numbers 0 <= u < 1: those of `numpy.random.Generator(numpy.random.Philox(seed)).random`.

    `array` is float64 or float32, writable and contiguous; `seed` a whole number from 0 on. Workers write straight
    into a `SharedArray`, and do so no more when this returns. The numbers of another array come back to be copied,
    which takes longer than to draw them here: have a `SharedArray`, or leave the cluster out. If this raises, part
    of the array is filled.

    Raises `ConfigError` for another array or seed, `Unsupported` for a SharedArray and a cluster of many machines,
    and what the cluster raises.
    """
    key = _key(seed)
    if isinstance(array, SharedArray):
        _check(array.array)
        if isinstance(cluster, Cluster):
            cluster.check_one_machine()
        _fill_memory(array, key, cluster, progress)
        return
    _check(array)
    flat = array.ravel(order="K")  # a view, in the order of memory, as numpy fills
    if cluster is None:
        from oche.kernels.philox64 import fill

        fill(flat, 0, key, stop_byte())
        return
    with Team(cluster, progress=progress) as team:
        out = team.blank(flat.shape, flat.dtype)
        parts = spans(flat.size, SPAN)
        blocks = team.round(_fill_block, parts, out=out, key=key)
        flat[:] = team.collect(out, [((lo,), block) for (lo, _), block in zip(parts, blocks, strict=True)])


def _fill_memory(shared: SharedArray, key: Key, cluster: Executor | None, progress: bool) -> None:
    with Gate() as gate, Team(cluster, progress=progress) as team:
        try:
            team.round(_fill_shared, spans(shared.array.size, SPAN), shared=shared, gate=gate, key=key)
        finally:
            # A copy of a call that was late, or lost its client, must not write over what the caller puts there next.
            gate.shut()


def _check(array: Array) -> None:
    if not isinstance(array, np.ndarray) or array.dtype not in KINDS:
        raise ConfigError(
            f"{type(array).__name__} of {getattr(array, 'dtype', 'no dtype')} cannot be filled: "
            "take a numpy array or SharedArray of float64 or float32"
        )
    if not (array.flags.forc and array.flags.writeable and array.flags.aligned):
        raise ConfigError("the array cannot be filled: it must be contiguous, writable and aligned; take a copy")


def _key(seed: int) -> Key:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ConfigError(f"seed {seed!r} cannot be used: take a whole number from 0 on")
    k0, k1 = np.random.Philox(int(seed)).state["state"]["key"].tolist()
    return k0, k1
