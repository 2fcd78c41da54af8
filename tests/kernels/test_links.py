"""The walks of many sublists at a time against a walk in plain Python."""

from __future__ import annotations

from concurrent.futures import CancelledError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oche.kernels.links import LANES, SLICE, first_ranks, jump, on_a_cycle, ranks_plain, read, spread, walk, walk_plain


@st.composite
def lists(draw):
    """Links of some lists through all nodes; an end is -1 or the node itself."""
    n = draw(st.integers(1, 400))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    order = random.permutation(n)
    links = np.full(n, -1, draw(st.sampled_from([np.int32, np.int64])))
    links[order[:-1]] = order[1:]
    ends = random.random(n) < draw(st.sampled_from([0.0, 0.01, 0.5, 1.0]))
    return np.where(ends, np.where(random.random(n) < 0.5, -1, np.arange(n)), links).astype(links.dtype)


def cut(links, share):
    """Links and heads of all sublists, cut behind some of the nodes."""
    bad, heads = read(links, ready := np.empty_like(links))
    assert bad == -1
    nodes = np.flatnonzero((np.random.default_rng(1).random(len(links)) < share) & (ready >= 0))
    all_heads = np.concatenate([heads, ready[nodes]])
    ready[nodes] = len(links) + len(heads) + np.arange(len(nodes))
    return ready, all_heads, heads


@settings(deadline=None, max_examples=60)
@given(lists(), st.sampled_from([0.0, 0.01, 0.3, 1.0]))
def test_sublists_give_the_ranks_of_a_plain_walk(links, share):
    ready, heads, begins = cut(links, share)
    record, table = walk(ready, heads, len(links))
    plain = walk_plain(ready, heads)
    assert table[:, 0].tolist() == list(map(len, plain))
    after = [int(ready[nodes[-1]]) for nodes in plain]
    assert table[:, 1].tolist() == [end - len(links) if end >= 0 else -1 for end in after]
    assert sorted(record.tolist()) == list(range(len(links)))
    ranks = np.full(len(links), -9)
    spread(record, table[:, 0], first_ranks(table, np.arange(len(begins))), ranks)
    assert ranks.tolist() == ranks_plain(links)


@settings(deadline=None, max_examples=30)
@given(lists())
def test_jumps_double_until_all_links_are_ends(links):
    _, _ = read(links, ready := np.empty_like(links))
    ranks = (ready >= 0).astype(np.int64)
    for _ in range(10):
        halves = [jump(ready, ranks, lo, hi) for lo, hi in ((0, len(links) // 3), (len(links) // 3, len(links)))]
        ready, ranks = (np.concatenate(parts) for parts in zip(*halves, strict=True))
    assert (ready == -1).all()
    assert ranks.tolist() == ranks_plain(links)


def test_what_does_not_fit_the_room_is_told():
    ready = np.arange(1, 1001, dtype=np.int32)
    ready[-1] = -1
    assert walk(ready, np.array([0]), 999) is None
    record, _ = walk(ready, np.array([0]), 10**6)
    assert record.tolist() == list(range(1000))


def test_more_lists_than_lanes_of_very_different_lengths():
    lengths = [1, 500, 2, 3] * LANES
    links = np.arange(1, sum(lengths) + 1)
    ends = np.cumsum(lengths) - 1
    links[ends] = -1
    record, table = walk(links, ends + 1 - lengths, len(links))
    assert table[:, 0].tolist() == lengths
    ranks = np.empty(len(links), np.int64)
    spread(record, table[:, 0], table[:, 0] - 1, ranks)
    assert ranks.tolist() == ranks_plain(links)


@pytest.mark.parametrize(
    ("links", "bad"), [([1, 2, -2], 2), ([1, 3, -1], 1), ([2, 2, -1], 1), ([1, 2, 1, -1], 2), ([0, 0, 0], 2)]
)
def test_the_first_bad_node(links, bad):
    found, _ = read(np.array(links), np.empty(len(links), np.int64))
    assert found == bad


def test_the_smallest_node_on_a_cycle():
    links = np.array([1, -1, 4, 2, 3, -1])
    _, heads = read(links, ready := links.copy())
    assert heads.tolist() == [0, 5]
    assert on_a_cycle(ready, heads) == 2
    assert on_a_cycle(ready[:2], heads[:1]) == -1


class Countdown:
    """A stop byte that is set at its n-th look."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def __getitem__(self, index: int) -> int:
        self.left -= 1
        return self.left <= 0


def test_it_looks_at_the_stop_byte():
    links = np.arange(1, 5 * SLICE + 1)
    links[-1] = -1
    never = Countdown(10**6)
    walk(links, np.array([0]), len(links), never)
    assert 5 <= 10**6 - never.left <= 6
    with pytest.raises(CancelledError, match=f"after {2 * SLICE} of {5 * SLICE} links"):
        walk(links, np.array([0]), len(links), Countdown(3))
