"""Map and reduce: the dict that a loop would make, whoever computes, however keys are spread."""

from __future__ import annotations

import math
import operator
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from decimal import Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import oche
from folding import bulky, largest, letters, listed, numbers, scattered, typed, unsendable
from oche.algorithms import map_reduce as module
from oche.algorithms.map_reduce import map_reduce
from oche.errors import ConfigError, OcheError, StoreError, Unsendable
from oche.stores.arrays import blank, place
from oche.stores.opening import open_store

WORDS = ["oche", "bull", "treble", "double", "", "straße", "\udce9t\0", "bull"] * 40


#: The last one has no store: pairs travel in the outcomes.
CLUSTERS = ["here", "threads", "processes", "local", "beanstalkd"]


def looped(mapper, reducer, inputs):
    values = defaultdict(list)
    for item in inputs:
        for key, value in mapper(item):
            values[key].append(value)
    return {key: reducer(key, some) for key, some in values.items()}


def test_the_dict_of_a_loop_in_order_of_keys(cluster):
    found = map_reduce(letters, listed, WORDS, cluster=cluster)
    assert found == looped(letters, listed, WORDS)
    assert list(found) == sorted(found)
    spans = (range(k, k + 50) for k in range(0, 3000, 50))
    assert map_reduce(numbers, largest, spans, combine=max, cluster=cluster) == {k: 2900 + k for k in range(100)}
    found = map_reduce(scattered, listed, range(300), cluster=cluster)
    assert found == looped(scattered, listed, range(300))
    assert map_reduce(letters, listed, [], cluster=cluster) == {}
    assert map_reduce(letters, listed, [""], cluster=cluster) == {}


def test_values_go_by_the_store_and_in_outcomes_where_they_are_too_large(cluster, monkeypatch):
    if getattr(cluster, "store", "") is None:
        with pytest.raises(OcheError, match="beanstalkd -z"):
            map_reduce(bulky, listed, range(30), cluster=cluster)
        return
    wanted = looped(bulky, listed, range(30))
    assert map_reduce(bulky, listed, range(30), cluster=cluster) == wanted
    monkeypatch.setattr(module, "MAPS", 7)
    monkeypatch.setattr(module, "ENOUGH", 1)
    assert map_reduce(bulky, listed, range(30), cluster=cluster) == wanted


keys = st.recursive(
    st.one_of(st.integers(), st.text(max_size=5), st.binary(max_size=5), st.none(), st.fractions(), st.dates()),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=4,
)


@settings(deadline=None, max_examples=30)
@given(st.lists(keys, max_size=60), st.integers(1, 9), st.sampled_from([1, 50, 2**20]))
def test_keys_of_all_types_however_they_are_cut(items, maps, enough):
    assume(len({repr(key) for key in items}) == len(set(items)))  # not both 1 and Fraction(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAPS", maps)
        patch.setattr(module, "ENOUGH_INLINE", enough)
        found = map_reduce(typed, listed, items)
    assert found == looped(typed, listed, items)
    assert list(found) == list(map_reduce(typed, listed, items[::-1]))


def test_numbers_come_by_value_then_texts_then_tuples_by_their_parts():
    items = [("b", 10), ("b", 9), "z", "a", 10, 9.5, -1, b"x", ("a",), math.inf, None]
    found = list(map_reduce(typed, listed, items))
    assert found == [-1, 9.5, 10, math.inf, "a", "z", ("a",), ("b", 9), ("b", 10), None, b"x"]


def test_one_and_true_are_one_key_and_one_and_decimal_one_are_refused(monkeypatch):
    monkeypatch.setattr(module, "ENOUGH_INLINE", 1)
    assert map_reduce(typed, listed, [1, True, 1.0, 2.5]) == {1: [1, True, 1.0], 2.5: [2.5]}
    with pytest.raises(ConfigError, match="Python calls equal"):
        map_reduce(typed, listed, [1, Decimal(1)])


def test_values_keep_their_order_and_combine_keeps_it_too():
    assert map_reduce(lambda x: [("all", x)], listed, "abcdefg") == {"all": list("abcdefg")}
    assert map_reduce(lambda x: [("all", x)], lambda _, v: "".join(v), "abcdefg" * 99, combine=operator.add) == {
        "all": "abcdefg" * 99
    }
    with oche.connect("local:", max_workers=1) as cluster:
        assert map_reduce(lambda x: [(x % 2, x)], lambda k, v: k + sum(v), range(10), cluster=cluster) == {0: 20, 1: 26}


def test_what_the_functions_raise_comes_back(cluster):
    def bad(_key, values):
        return 1 / values[0]

    mapper = numbers if isinstance(cluster, ProcessPoolExecutor) else typed
    if isinstance(cluster, ProcessPoolExecutor):
        with pytest.raises(TypeError, match="not iterable"):
            map_reduce(mapper, listed, [7], cluster=cluster)
    else:
        with pytest.raises(ZeroDivisionError):
            map_reduce(mapper, bad, [0], cluster=cluster)


def test_values_that_are_no_data_are_refused(cluster):
    with pytest.raises(Unsendable, match="which nobody signs"):
        map_reduce(unsendable, listed, [1], cluster=cluster)


def test_bytes_of_another_try_are_noticed():
    with open_store("memory:") as store:
        line = module._line({"a": [1, 2], "b": [3]}, ["a", "b"])
        drawer = blank(store, (module.DRAWER,), module.np.dtype("u1"))
        assert module._put(drawer, line) is None
        assert list(module._pairs((drawer, 0, len(line)))) == [("a", [1, 2]), ("b", [3])]
        place(drawer, (len(line) - 3,), module.np.frombuffer(b"7", "u1"))
        with pytest.raises(StoreError, match="second try"):
            list(module._pairs((drawer, 0, len(line))))


def test_more_than_a_drawer_holds_goes_in_the_outcome(monkeypatch):
    monkeypatch.setattr(module, "DRAWER", 10)
    with open_store("memory:") as store:
        drawer = blank(store, (10,), module.np.dtype("u1"))
        assert module._put(drawer, b"x" * 11).tobytes() == b"x" * 11
    with ThreadPoolExecutor(2) as pool:
        assert map_reduce(letters, listed, WORDS, cluster=pool) == looped(letters, listed, WORDS)
