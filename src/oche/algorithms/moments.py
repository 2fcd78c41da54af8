"""Sums that are the same in any order: what Monte Carlo keeps of its values, exactly.

A part of the values of fixed place is summed in floats; from there on nothing is rounded: floats are fractions, and
sums of fractions are exact. Sums are kept apart by the number of bits of a value's index, so that those of the first
1, 2, 4, 8 ... values can be told afterwards.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np

from oche.errors import ConfigError

Array: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Ratio: TypeAlias = "tuple[int, int]"
#: By bits of the index: the sum of values, and that of their squares.
Sums: TypeAlias = "dict[int, tuple[Fraction, Fraction]]"

#: Sums of squares between these: no square that counts has overflowed or vanished.
TAME = (1e-200, 1e200)


@dataclass(frozen=True, eq=False)
class Convergence:
    """What was known after 1, 2, 4, 8 ... points, and after all: one-dimensional arrays of the same length, to plot."""

    points: np.ndarray[Any, np.dtype[np.int64]]
    estimate: Array  #: of the integral
    standard_error: Array  #: of the estimate; infinite for one point


def doublings(lo: int, hi: int) -> Iterator[tuple[int, int]]:
    """lo .. hi cut where indices get one bit more: at 1, 2, 4, 8 ..."""
    while lo < hi:
        end = min(hi, 1 << lo.bit_length())
        yield lo, end
        lo = end


class Adder:
    """Sums under way. Cheap to add to: numerators are added by their denominators, of which floats have few."""

    def __init__(self) -> None:
        self._totals: defaultdict[int, Counter[int]] = defaultdict(Counter)
        self._squares: defaultdict[int, Counter[int]] = defaultdict(Counter)

    def add(self, values: Array, bits: int) -> bool:
        """Adds one or more values, whose indices have so many bits; false, and nothing done, unless all are finite.

        Rounded are the sum and the sum of squares about the mean; the sum of squares follows from these without
        rounding, so that a variance made of many such is never negative, and loses nothing where the mean is large.
        """
        found = _sum_and_spread(values)
        if found is None:
            return False
        (numerator, denominator), spread = found
        self._totals[bits][denominator] += numerator
        self._squares[bits][spread[1]] += spread[0]
        self._squares[bits][denominator * denominator * len(values)] += numerator * numerator
        return True

    def sums(self) -> Sums:
        """All that was added."""
        return {bits: (_added(total), _added(self._squares[bits])) for bits, total in self._totals.items()}


def _added(parts: Counter[int]) -> Fraction:
    return sum((Fraction(numerator, denominator) for denominator, numerator in parts.items()), Fraction(0))


def _sum_and_spread(values: Array) -> tuple[Ratio, Ratio] | None:
    """The sum, and the sum of squares about the mean; None unless all are finite.

    numpy adds up in an order that depends on the length alone.
    """
    total, spread = _rounded(values)
    if TAME[0] < spread < TAME[1]:
        return total.as_integer_ratio(), spread.as_integer_ratio()
    # Constant, or of extreme exponents: the largest is brought near 1, by a power of two, which is exact.
    top = float(np.abs(values).max())
    if not math.isfinite(top):
        return None
    exponent = math.frexp(top)[1]
    total, spread = _rounded(np.ldexp(values, -exponent))
    one = Fraction(2) ** exponent
    return (Fraction(total) * one).as_integer_ratio(), (Fraction(spread) * one * one).as_integer_ratio()


def _rounded(values: Array) -> tuple[float, float]:
    with np.errstate(all="ignore"):
        total = float(values.sum())
        apart = values - total / len(values)
        return total, float(np.square(apart, out=apart).sum())


def merge(one: Sums, other: Sums) -> Sums:
    """What both have seen."""
    sums = dict(one)
    for bits, (total, squares) in other.items():
        before = sums.get(bits, (Fraction(0), Fraction(0)))
        sums[bits] = before[0] + total, before[1] + squares
    return sums


def converge(sums: Sums, n: int, volume: float) -> Convergence:
    """volume * mean and its standard error for the first 1, 2, 4 ... n values, each rounded once.

    Raises `ConfigError` for what no float can hold.
    """
    ends = [end for _, end in doublings(0, n)]
    scale = Fraction(volume)
    estimates, errors = [], [math.inf]
    total = squares = Fraction(0)
    try:
        for bits, end in enumerate(ends):
            total, squares = total + sums[bits][0], squares + sums[bits][1]
            estimates.append(float(scale * total / end))
            if end > 1:
                variance = (squares - total * total / end) / (end - 1)
                errors.append(_root(scale * scale * variance / end))
    except OverflowError as error:
        raise ConfigError("the integral is above 1.8e308, more than a float can hold; scale f") from error
    return Convergence(np.array(ends, np.int64), np.array(estimates), np.array(errors))


def _root(square: Fraction) -> float:
    """The square root, also where the square itself is beyond the floats."""
    half = (square.numerator.bit_length() - square.denominator.bit_length()) // 2
    return math.ldexp(math.sqrt(square / Fraction(4) ** half), half)
