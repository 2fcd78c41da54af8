"""Sorting: numpy's stable sort to the last bit, for any dtype, on every engine, however it is cut."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import oche
from farms import Farm
from oche.algorithms import sort as module
from oche.algorithms.sort import _splitters, argsort, sort
from oche.errors import ConfigError
from oche.kernels.codes import encode
from oche.kernels.partition import partition

RNG = np.random.default_rng(11)
BLOCK = 1000
PEOPLE = [("name", "S3"), ("age", "i2"), ("score", "f8")]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """So that a few thousand keys make many blocks; only the client cuts."""
    monkeypatch.setattr(module, "BLOCK", BLOCK)


CLUSTERS = ["here", "threads", "local", "processes", "sqlite"]


def same(got, wanted):
    """To the last bit, but for longdoubles, which have bytes that nobody writes."""
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
    if wanted.dtype.char == "g":
        assert np.array_equal(got, wanted, equal_nan=True)
        assert np.array_equal(np.signbit(got), np.signbit(wanted))
    else:
        assert got.tobytes() == wanted.tobytes()
    assert got.flags.writeable
    assert got.flags.c_contiguous


def check(array, cluster=None, order=None):
    before = array.tobytes()
    same(sort(array, cluster=cluster, order=order), np.sort(array, kind="stable", order=order))
    same(argsort(array, cluster=cluster, order=order), np.argsort(array, kind="stable", order=order))
    assert array.tobytes() == before


def nasty(n):
    """Floats with many equal ones, both zeros, and NaNs of both signs."""
    values = np.round(2 * RNG.standard_normal(n))
    values[RNG.random(n) < 0.2] = -0.0
    values[RNG.random(n) < 0.1] = np.nan
    values[RNG.random(n) < 0.1] = -np.nan
    return values


def people(n):
    array = np.zeros(n, PEOPLE)
    array["name"], array["age"], array["score"] = RNG.integers(0, 20, n), RNG.integers(0, 3, n), nasty(n)
    return array


def arrays(n):
    floats, whole = nasty(n), RNG.integers(-(2**63), 2**63 - 1, n)
    return {
        **{kind: floats.astype(kind) for kind in ("f8", "f4", "f2", "g", ">f8", "c16", "S4", "U4")},
        **{kind: whole.astype(kind) for kind in ("i8", "u8", "i4", ">u4", "i2", "u1", "m8[ns]")},
        "complex": floats + 1j * floats[::-1],
        "bool": whole > 0,
        "few integers": whole % 3,
        "times": np.where(whole % 5 == 0, np.datetime64("NaT"), (whole >> 40).astype("M8[s]")),
        "every third": nasty(3 * n)[::3],
        "backwards": floats[::-1],
        "void": whole.view("V8"),
    }


@pytest.mark.parametrize("kind", arrays(0))
def test_every_dtype_of_any_length(kind):
    for n in (0, 1, 2, 124, 125, 126, 250, 997, 5003):
        check(arrays(n)[kind])


@pytest.mark.parametrize("kind", ["f8", "i4", "U4", "complex"])
def test_every_engine_gives_the_same(cluster, kind):
    check(arrays(5003)[kind], cluster)


@pytest.mark.parametrize("order", [None, "age", ["score"], ["score", "name"], ("age", "score", "name")])
def test_fields_in_any_order(order):
    check(people(997), order=order)


def test_a_field_named_twice_counts_once():
    array = people(300)
    same(sort(array, order=["age", "age"]), np.sort(array, kind="stable", order="age"))


def test_fields_on_every_engine(cluster):
    check(people(997), cluster, order="score")


def test_fields_with_gaps():
    array = np.zeros(997, np.dtype([("a", "i1"), ("b", "f8")], align=True))
    array["a"], array["b"] = RNG.integers(0, 3, 997), RNG.random(997)
    got = sort(array, order="b")
    assert got.dtype == array.dtype
    assert np.array_equal(got, np.sort(array, order="b"))


SHAPES = {
    "random": lambda n: RNG.random(n),
    "equal": lambda n: np.full(n, 3.5),
    "equal but the last": lambda n: np.where(np.arange(n) < n - 1, 3.5, 3.0),
    "sorted": lambda n: np.arange(n, dtype=float),
    "sorted but two": lambda n: np.where(np.arange(n) == n // 2, 0.0, np.arange(n)),
    "reversed": lambda n: np.arange(n, dtype=float)[::-1].copy(),
    "organ pipe": lambda n: np.minimum(np.arange(n), np.arange(n)[::-1]).astype(float),
    "two values": lambda n: RNG.integers(0, 2, n).astype(float),
    "NaNs": lambda n: np.where(RNG.random(n) < 0.9, np.nan, RNG.random(n)),
    "one huge crowd": lambda n: np.where(RNG.random(n) < 0.7, 0.5, RNG.random(n)),
    "sawtooth": lambda n: (np.arange(n) % 64).astype(float),
    "both zeros": lambda n: np.where(np.arange(n) % 3, 0.0, -0.0),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [7 * 125 - 1, 7 * 125, 7 * 125 + 1, 20_011])
def test_keys_that_are_unkind_to_a_sample_sort(shape, n):
    check(SHAPES[shape](n))


@pytest.mark.parametrize("length", [2**16 - 1, 2**16, 2**16 + 1, 2**16 + 2, 2**17 + 1])
def test_one_key_out_of_order_is_seen_at_any_place(length, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 2**22)
    keys = np.arange(length)
    same(sort(keys), keys)
    same(argsort(keys), keys)
    assert sort(keys) is not keys
    for at in (1, length // 2, 2**16 - 2, length - 2):
        swapped = keys.copy()
        swapped[[at, at - 1]] = keys[[at - 1, at]]
        same(sort(swapped), keys)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("parts", [2, 7, 64, 256])
def test_no_part_is_twice_as_large_as_the_mean(shape, parts):
    keys = SHAPES[shape](100_003)
    for merged in (False, True):
        splitters, positions = _splitters(keys, [], parts, merged=merged)
        pairs = list(zip(splitters.tolist(), positions.tolist(), strict=True))
        assert pairs == sorted(pairs)
        _, _, counts = partition(encode(keys, merged=merged), 0, splitters, positions)
        assert counts.sum() == keys.size
        assert counts.max() <= 2 * keys.size / parts


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(["f8", "f4", "i4", "u8", "i1", "c16", "S2", "U2", "?", "M8[s]", "f2", PEOPLE]).flatmap(
        lambda kind: hnp.arrays(kind, st.integers(0, 90), fill=st.nothing())
    ),
    st.integers(1, 200),
)
def test_any_array_cut_anywhere(array, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        patch.setattr(module, "SAMPLES", 2)
        check(array)


def test_ranks_make_a_stable_permutation(cluster):
    keys = RNG.integers(0, 40, 5003)
    ranks = argsort(keys, cluster=cluster)
    assert np.array_equal(np.sort(ranks), np.arange(keys.size))
    ordered = keys[ranks]
    assert (np.diff(ordered) >= 0).all()
    assert (np.diff(ranks)[np.diff(ordered) == 0] > 0).all()


def test_lists_and_other_sequences_are_arrays():
    assert sort([3, 1, 2]).tolist() == [1, 2, 3]
    assert argsort((3.0, 1.0)).tolist() == [1, 0]
    assert sort([]).dtype == np.float64


def test_the_result_is_the_callers_own(cluster):
    keys = RNG.random(5003)
    first = sort(keys, cluster=cluster)
    wanted = first.copy()
    second = sort(keys, cluster=cluster)
    second[:] = 0
    assert np.array_equal(first, wanted)


def test_a_broker_without_a_store_carries_small_arrays(tmp_path):
    farm = Farm("beanstalkd", tmp_path)
    try:
        with farm.connect() as found:
            check(nasty(997), found)
            check(people(300), found, order="age")
    finally:
        farm.close()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_cluster_lets_go_of_what_it_lent():
    with oche.connect("local:", max_workers=1) as found:
        sort(nasty(5003), cluster=found)
        argsort(nasty(997), cluster=found)
        targets = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        assert not [target for target in targets if "oche-value" in target]


@pytest.mark.parametrize("call", [sort, argsort])
@pytest.mark.parametrize(
    ("array", "order", "message"),
    [
        (np.zeros((2, 3)), None, r"2 dimensions has no one order; give a.ravel\(\)"),
        (np.float64(3), None, "0 dimensions"),
        (np.zeros(3), "x", "order names 'x', no field of the array; float64 has no fields: leave out order"),
        (np.zeros(3, PEOPLE), ["age", "size"], "order names 'size', no field of the array; it has name, age, score"),
        (np.array([1, None, "x"], object), None, "holds Python objects"),
        (np.zeros(3, "V0"), None, "items of no bytes"),
    ],
)
def test_what_cannot_be_sorted_is_refused(call, array, order, message):
    with pytest.raises(ConfigError, match=message):
        call(array, order=order)


def test_a_client_loads_no_compiler():
    code = "import sys, oche.algorithms.sort; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
    code = (
        "import sys, oche, oche.algorithms.sort as s; s.BLOCK = 1000\n"
        "if __name__ == '__main__':\n"
        "    with oche.connect(max_workers=1) as c:\n"
        "        print(s.sort(range(999, -1, -1), cluster=c)[:2], 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[0 1] False"


def test_where_it_is_cut_leaves_no_trace(monkeypatch):
    keys = nasty(5003)
    wanted = sort(keys)
    for block, samples, parts in itertools.product((8, 800, 10**9), (1, 7), (2, 256)):
        monkeypatch.setattr(module, "BLOCK", block)
        monkeypatch.setattr(module, "SAMPLES", samples)
        monkeypatch.setattr(module, "PARTS", parts)
        same(sort(keys), wanted)
