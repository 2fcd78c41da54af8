"""Scans: the integers of `np.cumsum`, floats with the same bits on every engine, order kept for any operator."""

from __future__ import annotations

import itertools
import operator
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oche
from farms import Farm
from folding import AFFINE, affine, half, longest, then
from oche.algorithms import operators
from oche.algorithms.scan import scan
from oche.errors import ConfigError, TooLarge

SMALL = 1000

CLUSTERS = ["here", "threads", "processes", "local", "sqlite"]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "BLOCK", SMALL)
    monkeypatch.setattr(operators, "BLOCK_OF_FUNCTION", SMALL)


def same(found, wanted) -> bool:
    return found.dtype == wanted.dtype and found.shape == wanted.shape and found.tobytes() == wanted.tobytes()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("n", [0, 1, SMALL, SMALL + 1, 4 * SMALL - 1])
def test_integers_are_those_of_cumsum(cluster, n):
    a = np.random.default_rng(n).integers(-(2**62), 2**62, n)  # the sums overflow, as numpy's do
    assert same(scan(a, cluster=cluster), np.cumsum(a))
    assert same(scan(a, exclusive=True, cluster=cluster), np.cumsum(np.concatenate([[0], a]))[:-1])


@pytest.mark.usefixtures("small_blocks")
def test_floats_have_the_same_bits_on_every_engine(cluster):
    for kind in (np.float64, np.float32, np.complex128, ">f8"):
        a = np.random.default_rng(1).normal(size=7 * SMALL + 3).astype(kind)
        found = scan(a, cluster=cluster)
        assert same(found, scan(a))
        assert same(found[:SMALL], np.cumsum(a)[:SMALL])
        assert found.flags.writeable
    a = np.random.default_rng(3).random(3 * SMALL + 1)
    assert same(scan(a, np.logaddexp, cluster=cluster), scan(a, np.logaddexp))
    assert same(scan(1 + a * 1e-3j, np.multiply, cluster=cluster), scan(1 + a * 1e-3j, np.multiply))
    assert scan(np.array([-0.0, -0.0]), cluster=cluster).tobytes() == np.array([-0.0, -0.0]).tobytes()


@pytest.mark.usefixtures("small_blocks")
def test_other_operators_keep_their_order(cluster):
    maps = affine(4 * SMALL + 5)
    wanted = np.array(list(itertools.accumulate(maps.tolist(), then)), AFFINE)
    assert same(scan(maps, then, cluster=cluster), wanted)
    first = scan(maps, then, initial=(1, 0), exclusive=True, cluster=cluster)
    assert same(first, np.concatenate([np.array([(1, 0)], AFFINE), wanted[:-1]]))
    texts = np.array([b"x" * (i * 7 % 23) for i in range(3 * SMALL)])
    assert same(scan(texts, longest, cluster=cluster), np.array(list(itertools.accumulate(texts, longest)), "S22"))


def test_a_long_scan_of_whole_blocks(cluster):
    a = np.random.default_rng(2).integers(0, 100, 2 * operators.BLOCK + 5)
    assert same(scan(a, cluster=cluster), np.cumsum(a))
    assert same(scan(a, np.maximum, cluster=cluster), np.maximum.accumulate(a))


UFUNCS = [np.add, np.multiply, np.maximum, np.minimum, np.bitwise_xor, np.bitwise_or, np.bitwise_and, np.gcd]


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.integers(0, 255), max_size=40),
    st.sampled_from([np.uint8, np.int16, np.int64, np.uint64]),
    st.sampled_from([*UFUNCS, np.logical_and, np.logical_or, np.logical_xor]),
    st.one_of(st.none(), st.integers(0, 200)),
    st.booleans(),
    st.integers(1, 9),
)
def test_any_cut_gives_what_numpy_accumulates(items, kind, op, initial, exclusive, size):
    a = np.array(items, kind)
    wanted = op.accumulate(a)
    logical = wanted.dtype == bool
    if initial is not None:
        initial = bool(initial % 2) if logical else initial
        wanted = op.accumulate(np.concatenate([np.array([initial], wanted.dtype), a.astype(wanted.dtype)]))[1:]
    if exclusive and (initial is not None or op.identity is not None):
        first = np.asarray(op.identity if initial is None else initial).astype(wanted.dtype)
        wanted = np.concatenate([first[None], wanted])[: a.size]
    elif exclusive:
        with pytest.raises(ConfigError, match="identity"):
            scan(a, op, exclusive=True)
        return
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr(operators, "BLOCK", size)
        for cluster in (None, pool):
            assert same(scan(a, op, exclusive=exclusive, initial=initial, cluster=cluster), wanted)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(0, 1e300), min_size=1, max_size=60), st.integers(1, 9), st.booleans())
def test_sums_of_floats_stay_within_their_bound_and_never_decrease(items, size, threads):
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr(operators, "BLOCK", size)
        found = scan(items, cluster=pool if threads else None)
        assert same(found, scan(items))
    assert (np.diff(found) >= 0).all()
    exact = list(itertools.accumulate(map(Fraction, items)))
    if np.isfinite(found[-1]):
        bound = (size + len(items) / size + 1) * Fraction(np.finfo(float).eps) / 2 * exact[-1] * 2
        assert all(abs(Fraction(x) - y) <= bound for x, y in zip(found.tolist(), exact, strict=True))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(-(2**40), 2**40), max_size=200), st.booleans())
def test_functions_are_called_with_python_values(items, exclusive):
    def add(a, b):
        assert type(a) is type(b) is int
        return a + b

    wanted = np.array([0, *itertools.accumulate(items)])
    found = scan(np.array(items, np.int64), add, initial=0 if exclusive else None, exclusive=exclusive)
    assert same(found, wanted[: len(items)] if exclusive else wanted[1:])


def test_a_function_of_this_very_program_travels():
    with oche.connect("local:", max_workers=1) as cluster:
        assert scan([1, 2, 3, 4], lambda a, b: a * b, cluster=cluster).tolist() == [1, 2, 6, 24]


@pytest.mark.usefixtures("small_blocks")
def test_arrays_of_all_sorts():
    days = np.arange(3 * SMALL).astype("m8[D]")
    assert same(scan(days), np.cumsum(days))
    steps = np.arange(6 * SMALL, dtype=float)[::-2]
    assert same(scan(steps), np.cumsum(steps))
    frozen = np.arange(5.0)
    frozen.flags.writeable = False
    assert scan(frozen).tolist() == [0, 1, 3, 6, 10]
    assert scan([True, True]).tolist() == [1, 2]
    assert np.isnan(scan([1.0, np.nan, 2.0])[1:]).all()
    assert scan([2.0, 3.0], initial=1).tolist() == [3.0, 6.0]
    assert scan([1, 2], np.bitwise_and, exclusive=True).tolist() == [-1, 1]
    assert same(scan(np.array([5, 4], np.uint8), np.bitwise_and, exclusive=True), np.array([255, 5], np.uint8))
    halves = scan(np.arange(2.5 * SMALL), half)  # not associative; still the same everywhere
    with ThreadPoolExecutor(2) as pool:
        assert same(scan(np.arange(2.5 * SMALL), half, cluster=pool), halves)


@pytest.mark.parametrize(
    ("a", "op", "more", "says"),
    [
        ([[1, 2]], np.add, {}, "one dimension, and this array has 2"),
        (5, np.add, {}, "has 0"),
        ([1], np.negative, {}, "does not make one value of two"),
        ([1], np.divmod, {}, "does not make one value of two"),
        ([1], np.matmul, {}, "does not make one value of two"),
        ([1], "add", {}, "op = 'add'"),
        ([1.0], np.bitwise_and, {}, "does not work on items of float64"),
        (["a"], np.multiply, {}, "does not work on items of <U1"),
        ([object()], np.add, {}, "Python objects"),
        ([1], np.frompyfunc(operator.add, 2, 1), {}, "Python objects"),
        ([1], np.maximum, {"exclusive": True}, "give initial="),
        ([1], operator.add, {"exclusive": True}, "give initial="),
        ([1], np.add, {"initial": 0.5}, "initial = 0.5 is no value of int64"),
        ([1], operator.add, {"initial": 2**70}, "is no value of int64"),
        ([1], np.add, {"initial": [1, 2]}, "shape"),
        ([1], np.add, {"initial": "x"}, "initial = 'x'"),
        ([1, 2], half, {}, "op returned 1.5, which int64 cannot hold"),
        ([2**62, 2**62], operator.add, {}, "op returned what is no value of int64"),
        ([b"ab", b"c"], operator.add, {}, "b'abc', which"),
    ],
)
def test_what_cannot_be_scanned_is_refused(a, op, more, says):
    with pytest.raises(ConfigError, match=says):
        scan(a, op, **more)


def broken(a: int, b: int) -> int:
    raise ZeroDivisionError(f"{a} and {b}")


def test_what_the_operator_raises_comes_back(cluster):
    with pytest.raises(ZeroDivisionError, match="0 and 1"):
        scan(np.arange(5), broken, cluster=cluster) if cluster is None else scan(
            np.arange(640), broken, cluster=cluster
        )


def test_without_a_store_blocks_travel_in_their_calls(tmp_path, monkeypatch):
    monkeypatch.setattr(operators, "BLOCK", SMALL)
    farm = Farm("beanstalkd", tmp_path)
    try:
        with farm.connect() as cluster:
            assert cluster.store is None
            a = np.arange(10 * SMALL)
            assert same(scan(a, cluster=cluster), np.cumsum(a))
            monkeypatch.setattr(operators, "BLOCK", 10**6)
            with pytest.raises(TooLarge, match="store"):
                scan(np.arange(10**6), cluster=cluster)
    finally:
        farm.close()


def test_importing_scan_loads_no_compiler():
    code = "import sys, oche.algorithms.scan, oche.algorithms.words; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False"]
