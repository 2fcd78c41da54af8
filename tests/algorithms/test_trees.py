"""Trees of all shapes: both ways find what walks in plain Python find, on every executor; and bad parents by name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forests import forests, shapes, shuffled
from oche.algorithms import list_ranking, trees
from oche.algorithms import trees_subtrees as module
from oche.algorithms.trees import depth, lca, postorder, preorder, subtree_sums
from oche.errors import ConfigError, Unsupported
from oche.kernels.ancestors import ancestor_plain
from oche.kernels.forest import depths_plain, orders_plain, sums_plain

METHODS = pytest.mark.parametrize("method", ["subtrees", "tour"])
#: All functions of a tree alone.
ALL = [depth, preorder, postorder, lambda parent, **given: subtree_sums(parent, np.ones(len(parent), int), **given)]


@pytest.fixture
def small(monkeypatch):
    """Several calls for small trees."""
    monkeypatch.setattr(module, "GROUP", 200)
    monkeypatch.setattr(module, "SUBTREES", 6)
    monkeypatch.setattr(trees, "QUERIES", 60)
    monkeypatch.setattr(list_ranking, "SUBLIST", 20)
    monkeypatch.setattr(list_ranking, "GROUP", 500)


@METHODS
@pytest.mark.parametrize("shape", sorted(shapes(9, np.random.default_rng(0))))
def test_every_executor_finds_what_walks_find(cluster, small, method, shape):
    random = np.random.default_rng(5)
    parent = shuffled(shapes(700, random)[shape], random)
    n, how = len(parent), {"method": method, "cluster": cluster}
    integers, floats = random.integers(-(2**40), 2**40, n), random.random(n)
    assert depth(parent, **how).tolist() == depths_plain(parent)
    assert (preorder(parent, **how).tolist(), postorder(parent, **how).tolist()) == orders_plain(parent)
    assert subtree_sums(parent, integers, **how).tolist() == sums_plain(parent, integers)
    u, v = random.integers(0, n, (2, 160))
    plain = [ancestor_plain(parent, a, b) for a, b in zip(u, v, strict=True)]
    assert lca(parent, u, v, **how).tolist() == plain
    found = subtree_sums(parent, floats, **how)
    if method == "subtrees":
        assert found.tolist() == sums_plain(parent, floats)  # to the last bit
    else:
        assert found == pytest.approx(sums_plain(parent, floats), abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(forests(), st.sampled_from([1, 4, 30]), st.sampled_from([1, 20]))
def test_any_cut_gives_the_same(parent, subtrees, group):
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr(module, "SUBTREES", subtrees)
        patch.setattr(module, "GROUP", group)
        assert depth(parent, cluster=pool).tolist() == depths_plain(parent)
        assert (preorder(parent, cluster=pool).tolist(), postorder(parent, cluster=pool).tolist()) == orders_plain(
            parent
        )
        floats = 1.0 / (1 + np.arange(len(parent)))
        assert subtree_sums(parent, floats, cluster=pool).tolist() == sums_plain(parent, floats)


def test_shares_that_outgrow_their_room_are_solved_by_the_client(cluster, small, monkeypatch):
    """One child of the root carries a path that is most of the tree; its subtree is one among many."""
    monkeypatch.setattr(module, "SUBTREES", 2)
    random = np.random.default_rng(3)
    parent = shuffled(np.concatenate([[-1], np.zeros(40, int), np.arange(40, 999)]), random)
    assert depth(parent, cluster=cluster).tolist() == depths_plain(parent)
    assert subtree_sums(parent, parent, cluster=cluster).tolist() == sums_plain(parent, parent)
    assert preorder(parent, cluster=cluster).tolist() == orders_plain(parent)[0]


@METHODS
@pytest.mark.parametrize("shape", ["path", "star"])
def test_a_million_nodes_deep_or_wide(method, shape):
    n = 10**6
    parent = np.arange(n) - 1 if shape == "path" else np.where(np.arange(n) > 0, 0, -1)
    assert (depth(parent, method=method) == (np.arange(n) if shape == "path" else np.arange(n) > 0)).all()
    assert (preorder(parent, method=method) == np.arange(n)).all()
    sizes = subtree_sums(parent, np.ones(n, int), method=method)
    assert (sizes == (n - np.arange(n) if shape == "path" else np.where(np.arange(n) > 0, 1, n))).all()


@METHODS
def test_few_nodes(method):
    for find in ALL:
        assert find([], method=method).tolist() == []
        assert find([-1], method=method).tolist() == find([0], method=method).tolist()
    assert lca([-1], 0, 0, method=method) == 0
    assert lca([-1, -1], [], [], method=method).tolist() == []
    assert lca([-1, 0, 0, -1], [[1], [2]], [1, 2, 3], method=method).tolist() == [[1, 0, -1], [0, 2, -1]]


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, ">i8"])
def test_any_integers(dtype):
    assert depth(np.array([-1, 0, 1, 2], dtype)).tolist() == [0, 1, 2, 3]
    assert depth(np.array([0, 0, 1, 2]).astype(np.uint64)).tolist() == [0, 1, 2, 3]


def test_values_of_many_kinds():
    parent = [-1, 0, 0]
    assert subtree_sums(parent, [True, True, False]).tolist() == [2, 1, 0]
    assert subtree_sums(parent, np.array([1, 2, 3], np.uint64)).dtype == np.int64
    assert subtree_sums(parent, np.array([0.5, 0.25, 4], np.float32)).tolist() == [4.75, 0.25, 4.0]
    great = 2**62 - 1
    assert subtree_sums(parent, [great, great, 1]).tolist() == [2**63 - 1, great, 1]
    assert subtree_sums(parent, [-great, great, -great]).tolist() == [-great, great, -great]
    floats = subtree_sums(parent, [1e16, 1.0, 1.0])  # the last child first: each 1 is lost by itself
    assert floats[0] == (1e16 + 1.0) + 1.0


@METHODS
@pytest.mark.parametrize("find", ALL)
@pytest.mark.parametrize(
    ("parent", "text"),
    [
        (np.array([-1.0, 0.0]), "parent is of float64"),
        ([[-1, 0]], r"shape \(1, 2\)"),
        (np.array([0, 2**63], np.uint64), "9223372036854775808, which is no node"),
        ([-1, 2], r"parent\[1\] is 2, but the nodes are 0 .. 1"),
        ([-1, -2], r"parent\[1\] is -2"),
        ([-1, 0, 3, 4, 2, 2], "node 2 is its own ancestor"),
        ([1, 0], "node 0 is its own ancestor"),
    ],
)
def test_what_is_no_forest_is_refused_by_name(method, find, parent, text):
    with pytest.raises(ConfigError, match=text):
        find(parent, method=method)


@METHODS
def test_a_cycle_below_many_nodes_is_found_on_every_executor(cluster, small, method):
    random = np.random.default_rng(3)
    parent = shapes(3000, random)["binary"]
    parent = np.concatenate([parent, 3000 + np.roll(np.arange(7), 1)])
    with pytest.raises(ConfigError, match="node 3000 is its own ancestor"):
        depth(parent, method=method, cluster=cluster)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1, 2], r"shape \(2,\); give one for each of the 3 nodes"),
        ([1j, 2, 3], "values are of complex128"),
        (["a", "b", "c"], "values are of <U1"),
        ([2**62, 2**62, 0], "could pass 2"),
        ([-(2**62), -(2**62), 2**62], "could pass 2"),
        (np.array([2**63, 0, 0], np.uint64), "could pass 2"),
    ],
)
def test_other_values_are_refused(values, text):
    with pytest.raises(ConfigError, match=text):
        subtree_sums([-1, 0, 0], values)


@pytest.mark.parametrize(
    ("u", "v", "text"),
    [
        ([0, 3], [0, 0], "u asks for node 3"),
        ([0], [-1], "v asks for node -1"),
        ([0.5], [0], "u is of float64"),
        ([0, 1], [0, 1, 2], r"shape \(2,\) and v \(3,\)"),
        (np.array([2**63], np.uint64), [0], "which is no node"),
    ],
)
def test_other_queries_are_refused(u, v, text):
    with pytest.raises(ConfigError, match=text):
        lca([-1, 0, 0], u, v)


def test_another_method_is_refused():
    with pytest.raises(ConfigError, match="method='fast'"):
        depth([-1], method="fast")


def test_what_an_engine_cannot_do_is_not_taken_for_a_cycle(monkeypatch):
    def refuse(*_, **__):
        raise Unsupported("no such store")

    monkeypatch.setattr("oche.algorithms.trees_tour.list_rank", refuse)
    with pytest.raises(Unsupported, match="no such store"):
        depth([-1], method="tour")
