"""Passes over listed trees against walks in plain Python."""

from __future__ import annotations

from concurrent.futures import CancelledError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forests import forests
from oche.kernels.ancestors import ancestor_plain, ancestors, sparse_table
from oche.kernels.forest import (
    SLICE,
    children,
    depths,
    depths_plain,
    grow,
    on_a_cycle,
    orders_plain,
    settle,
    starts,
    sums,
    sums_plain,
    tour,
)


def all_of(parent):
    """Everything from the one node above all roots."""
    bad, first, kids = children(parent)
    assert bad == -1
    return grow(first, kids, np.array([len(parent)], kids.dtype), len(parent) + 1)


@settings(deadline=None, max_examples=100)
@given(forests(), st.sampled_from([np.int32, np.int64]))
def test_passes_find_what_walks_find(parent, kind):
    parent = parent.astype(kind)
    trees, n = all_of(parent), len(parent)
    assert trees.nodes[0] == n
    assert trees.counts.tolist() == [n + 1]
    weights = np.concatenate([parent + 3, [0]])
    found, before, after = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
    found[trees.nodes] = depths(trees.above) - 1
    assert found[:n].tolist() == depths_plain(parent)
    found[trees.nodes] = sums(trees.above, weights[trees.nodes].astype(np.int64))
    assert found[:n].tolist() == sums_plain(parent, weights[:n])
    sizes = sums(trees.above, np.ones(n + 1, np.int64))
    before[trees.nodes] = starts(trees.above, sizes, 1) - 1
    after[trees.nodes] = starts(trees.above, sizes, 0) + sizes - 1
    assert (before[:n].tolist(), after[:n].tolist()) == orders_plain(parent)


@settings(deadline=None, max_examples=50)
@given(forests(), st.integers(1, 40))
def test_trees_one_after_the_other_are_those_below_each_root(parent, wide):
    _, first, kids = children(parent)
    n = len(parent)
    top = grow(first, kids, np.array([n], kids.dtype), n + 1, wide=wide)
    waiting = len(top.nodes) - top.done
    assert waiting == 0 or waiting >= wide
    rest = grow(first, kids, top.nodes[top.done :], n)
    assert sorted([*top.nodes[: top.done], *rest.nodes]) == list(range(n + 1))
    out = np.full(n, -1)
    settle(rest.nodes, rest.counts, depths(rest.above), depths(top.above)[top.done :] - 1, out)
    expected = np.array(depths_plain(parent))
    assert (out[rest.nodes] == expected[rest.nodes]).all()
    if len(rest.nodes) > 1:
        assert grow(first, kids, top.nodes[top.done :], len(rest.nodes) - 1) is None


@settings(deadline=None, max_examples=50)
@given(forests(), st.randoms(use_true_random=False))
def test_common_ancestors_are_those_of_two_walks_up(parent, chance):
    n = len(parent)
    number = np.array(orders_plain(parent)[0])
    order = np.argsort(number)
    above = parent[order]
    up = np.where((above < 0) | (above == order), -1, number[above])
    u, v = ([chance.randrange(n) for _ in range(50)] for _ in "uv")
    found = ancestors(number, up, sparse_table(up), np.array(u), np.array(v))
    plain = [ancestor_plain(parent, a, b) for a, b in zip(u, v, strict=True)]
    assert [order[k] if k >= 0 else -1 for k in found] == plain


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=400), st.integers(0, 2**32 - 1))
def test_least_of_a_range(numbers, seed):
    """The kernel's ranges are up[a + 1 : b + 1]; any numbers will do for these."""
    up = np.array(numbers, np.int32)
    a, b = np.sort(np.random.default_rng(seed).integers(0, len(up), (2, 60)), axis=0)
    found = ancestors(np.arange(len(up)), up, sparse_table(up), a, b)
    assert found.tolist() == [i if i == j else up[i + 1 : j + 1].min() for i, j in zip(a, b, strict=True)]


@settings(deadline=None, max_examples=30)
@given(forests())
def test_the_tour_goes_around_each_tree(parent):
    _, first, kids = children(parent)
    n = len(parent)
    before, after = orders_plain(parent)
    step, downs, ups = int(kids[first[n]]), [], []
    links = tour(first, kids)
    while step >= 0:
        (downs if step < n else ups).append(step % n)
        step = int(links[step])
    assert downs == np.argsort(before).tolist()
    assert ups == np.argsort(after).tolist()


def test_a_deep_tree_needs_no_recursion():
    n = 10**6
    trees = all_of(np.arange(n) - 1)
    assert (depths(trees.above) == np.arange(n + 1)).all()


@pytest.mark.parametrize(("parent", "bad"), [([-1, 3, 0], 1), ([-1, 0, -2], 2), ([-1, 0, 1], -1)])
def test_the_first_bad_node(parent, bad):
    assert children(np.array(parent))[0] == bad


@pytest.mark.parametrize(
    ("parent", "node"), [([-1, 0, 4, 2, 3, 2], 2), ([0, 1, 0], -1), ([1, 0], 0), ([3, -1, 3, 4, 3], 3)]
)
def test_the_smallest_node_on_a_cycle(parent, node):
    assert on_a_cycle(np.array(parent)) == node


class Countdown:
    """A stop byte that is set at its n-th look."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def __getitem__(self, index: int) -> int:
        self.left -= 1
        return self.left <= 0


def test_they_look_at_the_stop_byte():
    n = 4 * SLICE
    _, first, kids = children(np.arange(n) - 1)
    with pytest.raises(CancelledError, match=f"after {2 * SLICE + 1} nodes of 1 trees"):
        grow(first, kids, np.array([0], kids.dtype), n, stop=Countdown(3))
    zeros = np.zeros(10**5, np.int64)
    with pytest.raises(CancelledError, match="of 100000 queries"):
        ancestors(zeros, zeros, sparse_table(zeros), zeros, zeros, Countdown(2))
