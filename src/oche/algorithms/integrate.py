"""Integrals by Monte Carlo: one value, to the last bit, whoever computed which points.

Point i of a seed lies where (seed, i) says (`oche.kernels.uniforms`). The points are cut into blocks by n and d alone,
f is called once for each, and a block's sums are floats that depend on nothing else. Blocks are added up exactly, as
fractions (`oche.algorithms.moments`), and exact sums are the same in any order: so a job may take any number of
blocks, as measured time says, and how the range was cut, lost, retried or computed twice leaves no trace. Mean and
variance are rounded once, at the end.

Exact sums of the values themselves would need no blocks, but cost more than most functions do; a tree of float sums
with fixed joints would be exact enough, but fix how the work is cut, too, or keep two floats for each block.

Hammersley, Handscomb: "Monte Carlo Methods", Methuen 1964, chapter 5; Caflisch: "Monte Carlo and quasi-Monte Carlo
methods", Acta Numerica 7, 1998.
"""

from __future__ import annotations

import functools
import math
import operator
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Executor
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

import numpy as np

from oche.algorithms.moments import Adder, Array, Convergence, Sums, converge, doublings, merge
from oche.algorithms.pi import Z95
from oche.algorithms.team import CRASHES, Team, spans
from oche.cluster.executor import Cluster
from oche.errors import ConfigError
from oche.kernels.philox import key_of
from oche.wire.exceptions import describe, rebuild
from oche.wire.outcome import Failure
from oche.wire.task import task
from oche.worker.context import stop_byte

Bounds: TypeAlias = "Sequence[tuple[float, float]]"
#: What a job answers: the sums of its blocks, up to the first one that failed, and how that failed.
Piece: TypeAlias = "tuple[Sums, Failure | None]"

#: Points in a block, at most: what numpy costs a call is then a tenth of what it costs a point, or less.
POINTS = 2**14
#: Coordinates in a block, at most: 4 MiB.
CELLS = 2**19
#: Blocks that a run has at least, so that few points of a slow function are spread, too.
BLOCKS = 64
#: Calls for each slot where the executor does not cut the run by measured time.
CALLS = 16
#: As many points as there are: the length of a range in Python ends here.
MOST = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class Integral:
    """What came of n points. All but `seconds` is the same on every engine, bit by bit."""

    n: int
    seed: int
    volume: float  #: of the box
    value: float  #: volume times the mean of f
    standard_error: float  #: of the value, by the sample's own variance; infinite for one point
    seconds: float  #: wall-clock, with all starting up
    convergence: Convergence = field(repr=False, compare=False)

    @property
    def interval(self) -> tuple[float, float]:
        """Low and high end of the 95 % confidence interval, by the normal distribution: right for many points."""
        return self.value - Z95 * self.standard_error, self.value + Z95 * self.standard_error

    @property
    def points_per_second(self) -> float:
        return self.n / self.seconds if self.seconds > 0 else math.inf

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"integral = {self.value:.10g}, standard error {self.standard_error:.1e}\n"
            f"95 % interval {low:.10g} to {high:.10g}\n"
            f"{self.n:,} points (seed {self.seed})\n"
            f"{self.seconds:.2f} s, {self.points_per_second / 1e6:,.1f} million points/s"
        )


def integrate(
    f: Callable[[Array], Any],
    bounds: Bounds,
    n: int | float | str,
    *,
    seed: int = 0,
    cluster: Executor | None = None,
    progress: bool = False,
) -> Integral:
    """The integral of f over a box, by the mean of f at n points spread evenly over it: plain Monte Carlo.

    f takes points, float64 of shape (m, d) with contiguous columns, its own until it returns, and returns m real
    numbers, shape (m,); m is 1 to 16,384. `bounds`: (lower, upper) for each of d >= 1 dimensions, finite. `n` is
    1 to 2**63 - 1, also as "1e9" or 1e9; `seed` 0 to 2**64 - 1. f travels to other processes: import it or, on a
    cluster of oche's, make it on the spot; keep what it carries small, since every job brings it.

    The standard error falls as 1 / sqrt(n) in any number of dimensions, if f has a finite variance.

    Raises `ConfigError` for an argument that cannot be right, and if f returns another shape, what is not real, or
    no finite number, with the first such point; and what f and the cluster raise.
    """
    box, count, seed = _box(bounds), _count(n), _seed(seed)
    if not callable(f):
        raise ConfigError(f"{f!r} cannot be integrated: it is not callable; give a function of an array of points")
    began = time.perf_counter()
    work = functools.partial(_sums, f=f, box=box, n=count, seed=seed)
    blocks = -(-count // _block(count, len(box)))
    none: Piece = ({}, None)
    if isinstance(cluster, Cluster):
        sums, _ = cluster.reduce(work, range(blocks), _add, initial=none, progress=progress)
    else:
        with Team(cluster, progress=progress) as team:
            size = -(-blocks // (CALLS * team.slots))
            sums, _ = functools.reduce(_add, team.round(work, spans(blocks, size)), none)
    volume = _volume(box)
    convergence = converge(sums, count, volume)
    return Integral(
        n=count,
        seed=seed,
        volume=volume,
        value=float(convergence.estimate[-1]),
        standard_error=float(convergence.standard_error[-1]),
        seconds=time.perf_counter() - began,
        convergence=convergence,
    )


def points(lo: int, hi: int, bounds: Bounds, seed: int = 0) -> Array:
    """The points lo .. hi - 1 at which `integrate` calls f: float64 of shape (hi - lo, d), columns contiguous.

    Raises `ConfigError` for bounds that cannot be right, and unless 0 <= lo <= hi <= 2**63 and 0 <= seed < 2**64.
    """
    from oche.kernels.uniforms import uniforms  # here, so that a client that only sends work never loads a compiler

    return uniforms(lo, hi, _seed(seed), _box(bounds))


@task(crashes=CRASHES)
def _sums(lo: int, hi: int, *, f: Callable[[Array], Any], box: Bounds, n: int, seed: int) -> Piece:
    """The sums of blocks lo .. hi - 1.

    A failure is told, not raised: it would come again at each try, and pieces are added up in order, so that the
    first block that failed is known to be the first of all.
    """
    from oche.kernels.uniforms import room_for, uniforms

    stop, size = stop_byte(), _block(n, len(box))
    room = np.empty(room_for(size, len(box)))
    adder = Adder()
    for block in range(lo, hi):
        if stop[0]:
            raise CancelledError(f"called off before block {block} of {lo} .. {hi}")
        first, last = block * size, min(n, (block + 1) * size)
        try:
            values = _values(f, uniforms(first, last, seed, box, room))
            for begin, end in doublings(first, last):
                if not adder.add(values[begin - first : end - first], begin.bit_length()):
                    raise _not_finite(values, first, seed, box)
        except Exception as error:
            return adder.sums(), describe(error, pickles=True)
    return adder.sums(), None


def _add(one: Piece, other: Piece) -> Piece:
    """One piece and the next. Raises what the first block that failed did."""
    if other[1] is not None:
        raise rebuild(other[1], trusted=True)
    return merge(one[0], other[0]), None


def _values(f: Callable[[Array], Any], x: Array) -> Array:
    values = np.asarray(f(x))
    if values.dtype.kind == "c":
        raise ConfigError("f returned complex numbers, which have no interval; integrate .real and .imag by themselves")
    if values.dtype.kind not in "buif":
        raise ConfigError(f"f returned {values.dtype}, not real numbers; return an array of float64")
    if values.shape != (len(x),):
        raise ConfigError(
            f"f returned an array of shape {values.shape} for {len(x)} points; return one number a point: ({len(x)},)"
        )
    return values.astype(np.float64, copy=False)


def _not_finite(values: Array, first: int, seed: int, box: Bounds) -> ConfigError:
    place = int(np.argmin(np.isfinite(values)))
    i = first + place
    where = ", ".join(map(repr, points(i, i + 1, box, seed)[0].tolist()))
    return ConfigError(f"f is {values[place]} at point {i} of seed {seed}, ({where}); change f there, or the bounds")


def _block(n: int, d: int) -> int:
    """Points a block, by the problem's size alone: a power of two, so that no block goes across a doubling."""
    return 1 << (max(1, min(POINTS, CELLS // d, n // BLOCKS)).bit_length() - 1)


def _volume(box: Bounds) -> float:
    return math.prod(upper - lower for lower, upper in box)


def _box(bounds: Bounds) -> list[tuple[float, float]]:
    try:
        box = [(float(lower), float(upper)) for lower, upper in bounds]
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"bounds = {bounds!r} is no box; take [(lower, upper), ...], a pair a dimension") from error
    if not box:
        raise ConfigError("bounds are empty; take [(lower, upper), ...], at least one dimension")
    for dimension, (lower, upper) in enumerate(box):
        if not -math.inf < lower < upper < math.inf:
            raise ConfigError(
                f"dimension {dimension} goes from {lower} to {upper}; take finite bounds, the lower one first "
                "(an infinite range needs a change of variable)"
            )
    if not 1e-300 < _volume(box) < math.inf:
        raise ConfigError(f"the box of {len(box)} dimensions has volume {_volume(box)}; scale the coordinates")
    return box


def _count(n: int | float | str) -> int:
    try:
        exact = Decimal(n if isinstance(n, (float, str)) else operator.index(n))
    except (InvalidOperation, TypeError, ValueError) as error:
        raise ConfigError(
            f"n = {n!r} is not a number of points; take a whole number, such as 10**9 or '1e9'"
        ) from error
    # The bounds come first: nobody wants all the digits of 1e999999999.
    if not (exact.is_finite() and 1 <= exact <= MOST and exact == int(exact)):
        raise ConfigError(f"n = {n!r} points cannot be taken; take a whole number from 1 to 2**63 - 1")
    return int(exact)


def _seed(seed: int) -> int:
    try:
        seed = operator.index(seed)
    except TypeError as error:
        raise ConfigError(f"seed {seed!r} cannot be used: take a whole number from 0 to 2**64 - 1") from error
    key_of(seed)
    return seed
