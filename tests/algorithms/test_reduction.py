"""Reductions and histograms: what numpy says, exactly for integers, with the same bits everywhere for floats."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from folding import affine, longest, then
from oche.algorithms import operators, reduction
from oche.algorithms.reduction import histogram, reduce
from oche.errors import ConfigError

SMALL = 1000


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (operators, reduction):
        monkeypatch.setattr(module, "BLOCK", SMALL)


@pytest.mark.usefixtures("small_blocks")
def test_every_engine_reduces_alike(cluster):
    rng = np.random.default_rng(0)
    for n in (1, SMALL - 1, SMALL, SMALL + 1, 6 * SMALL + 1):
        ints = rng.integers(-(2**62), 2**62, n)
        for op in (np.add, np.multiply, np.minimum, np.bitwise_xor):
            found = reduce(ints, op, cluster=cluster)
            assert (type(found), found) == (np.int64, op.reduce(ints))
    floats = rng.normal(size=(60, 101))
    found = reduce(floats, cluster=cluster)
    assert (type(found), found) == (np.float64, reduce(floats))
    assert found == pytest.approx(math.fsum(floats.ravel()), abs=1e-12)
    assert reduce(floats[:, ::2], np.maximum, cluster=cluster) == floats[:, ::2].max()
    maps = affine(3 * SMALL)
    assert reduce(maps, then, cluster=cluster) == functools.reduce(then, maps.tolist())
    assert reduce(maps, then, initial=(2, 1), cluster=cluster) == functools.reduce(then, maps.tolist(), (2, 1))


@pytest.mark.usefixtures("small_blocks")
def test_every_engine_counts_alike(cluster):
    rng = np.random.default_rng(1)
    a, heavy = rng.normal(size=5 * SMALL + 3), rng.random(5 * SMALL + 3)
    for bins, span in ((10, None), (100, (-1, 1.5)), ("fd", None), ([-3, -1, 0, 0.5, 4], None)):
        counts, edges = histogram(a, bins, span, cluster=cluster)
        wanted, borders = np.histogram(a, bins, span)
        assert (counts.dtype, counts.tolist()) == (wanted.dtype, wanted.tolist())
        assert edges.tobytes() == borders.tobytes()
        if bins == "fd":  # numpy estimates no bins for weights
            continue
        weighed, _ = histogram(a, bins, span, heavy, cluster=cluster)
        assert weighed.tobytes() == histogram(a, bins, span, heavy)[0].tobytes()
        assert weighed == pytest.approx(np.histogram(a, bins, span, weights=heavy)[0], rel=1e-12)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.one_of(st.integers(-50, 50), st.integers(-500, 500).map(lambda n: n / 10)), max_size=40),
    st.sampled_from([np.int8, np.int64, np.float32, np.float64]),
    st.one_of(st.integers(1, 9), st.just("auto"), st.lists(st.integers(-60, 60), min_size=2, max_size=6).map(sorted)),
    st.sampled_from([None, (-10, 10), (0.1, 7.3), (5, 5)]),
    st.booleans(),
    st.integers(1, 9),
)
def test_histograms_are_those_of_numpy_however_they_are_cut(items, kind, bins, span, heavy, size):
    a = np.array(items).astype(kind)
    weights = np.arange(a.size) if heavy else None
    if bins == "auto":
        weights = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduction, "BLOCK", size)
        counts, edges = histogram(a, bins, span, weights)
    wanted, borders = np.histogram(a, bins, span, weights=weights)
    assert (counts.dtype, counts.tolist()) == (wanted.dtype, wanted.tolist())
    assert (edges.dtype, edges.tobytes()) == (borders.dtype, borders.tobytes())


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 100), max_size=30), st.one_of(st.none(), st.integers(0, 9)), st.integers(1, 9))
def test_reductions_are_those_of_numpy_however_they_are_cut(items, initial, size):
    a = np.array(items, np.int32)
    given_too = {} if initial is None else {"initial": initial}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operators, "BLOCK", size)
        patch.setattr(operators, "BLOCK_OF_FUNCTION", size)
        for op in (np.add, np.multiply, np.bitwise_or, np.logical_and):
            if op is np.logical_and and initial is not None:
                continue
            found = reduce(a, op, initial=initial)
            wanted = op.reduce(a, **given_too)
            assert (type(found), found) == (type(wanted), wanted)
        if items or initial is not None:
            assert reduce(a, max, initial=initial) == max([*items, *given_too.values()])


def test_empty_arrays():
    assert reduce([]) == 0.0
    assert reduce(np.empty(0, bool), np.logical_and)
    assert reduce([], np.maximum, initial=3) == 3.0
    assert reduce(np.empty(0, "S3"), longest, initial=b"a") == b"a"
    counts, edges = histogram([], 3)
    assert (counts.tolist(), edges.tolist()) == ([0, 0, 0], np.linspace(0, 1, 4).tolist())
    assert histogram([], 3, weights=np.empty(0))[0].dtype == float


@pytest.mark.parametrize(
    ("work", "says"),
    [
        (lambda: reduce([], np.maximum), "empty array has no value"),
        (lambda: reduce([], max), "empty array has no value"),
        (lambda: reduce([1], np.negative), "does not make one value of two"),
        (lambda: reduce([1], initial="x"), "initial = 'x'"),
        (lambda: reduce([None]), "Python objects"),
        (lambda: reduce([b"ab"], longest, initial=b"abc"), "it would need .S3"),
        (lambda: histogram([1], "fd", weights=[1]), "not supported for weighted data"),
        (lambda: histogram([1], 0), "bins = 0"),
        (lambda: histogram([1], "best"), "bins = 'best'"),
        (lambda: histogram([1], [3, 2]), "monotonically"),
        (lambda: histogram([1, math.nan]), "finite"),
        (lambda: histogram([1], range=(2, 1)), "max must be larger"),
        (lambda: histogram([1, 2], weights=[1]), "1 weights for 2 items"),
        (lambda: histogram(["a"]), "cannot be made"),
    ],
)
def test_what_cannot_be_reduced_is_refused(work, says):
    with pytest.raises(ConfigError, match=says):
        work()
