"""List ranking: the ranks of a plain walk, on every executor, however the list is cut; and bad links by name."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oche.algorithms import list_ranking as module
from oche.algorithms.list_ranking import list_rank, list_rank_jumping
from oche.errors import ConfigError
from oche.kernels.links import ranks_plain

BOTH = pytest.mark.parametrize("rank", [list_rank, list_rank_jumping])


@pytest.fixture
def small(monkeypatch):
    """Many groups of many sublists in small lists."""
    monkeypatch.setattr(module, "SUBLIST", 20)
    monkeypatch.setattr(module, "GROUP", 1500)
    monkeypatch.setattr(module, "BLOCK", 3000)


def lists(n, ends, seed=0):
    """Links of lists through all n nodes in random order, as many as there are ends."""
    random = np.random.default_rng(seed)
    order = random.permutation(n)
    links = np.full(n, -1)
    links[order[:-1]] = order[1:]
    cut = random.choice(order[:-1], ends - 1, replace=False)
    links[cut] = np.where(random.random(ends - 1) < 0.5, -1, cut)
    return links


@BOTH
@pytest.mark.parametrize("ends", [1, 30, 9000])
def test_every_executor_finds_the_ranks_of_a_walk(cluster, small, rank, ends):
    links = lists(10_000, ends)
    found = rank(links, cluster=cluster)
    assert found.dtype == np.int64
    assert found.tolist() == ranks_plain(links)
    found += 1  # the caller's own, to write into


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 3000), st.floats(0, 1), st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 100]))
def test_any_lists_however_they_are_cut(n, share, seed, sublist):
    links = lists(n, 1 + round(share * (n - 1)), seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SUBLIST", sublist)
        patch.setattr(module, "GROUP", 700)
        assert list_rank(links).tolist() == ranks_plain(links)


def test_one_long_chain_in_the_order_of_memory_and_against_it():
    n = 3 * 2**20
    ahead = np.arange(1, n + 1, dtype=np.int32)
    ahead[-1] = -1
    assert (list_rank(ahead) == np.arange(n - 1, -1, -1)).all()
    assert (list_rank(np.arange(n) - 1) == np.arange(n)).all()


@pytest.mark.parametrize("pool", [None, ThreadPoolExecutor], ids=["here", "threads"])
def test_groups_that_outgrow_their_room_are_walked_by_the_client(small, monkeypatch, pool):
    monkeypatch.setattr(module, "ROOM", 0.98)
    links = lists(10_000, 3)
    if pool is None:
        assert list_rank(links).tolist() == ranks_plain(links)
        return
    with pool(2) as threads:
        assert list_rank(links, cluster=threads).tolist() == ranks_plain(links)


@BOTH
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32, np.int32, np.int64, np.uint64, ">i4"])
def test_any_integers(rank, dtype):
    links = np.array([3, 4, 2, 2, 0], dtype)  # 2 ends it as it is its own successor
    assert rank(links).tolist() == [2, 4, 0, 1, 3]
    links.flags.writeable = False
    assert rank(links[::-1][::-1]).tolist() == [2, 4, 0, 1, 3]


@BOTH
def test_few_nodes(rank):
    assert rank([]).tolist() == []
    assert rank([-1]).tolist() == rank([0]).tolist() == [0]
    assert rank([1, -1]).tolist() == [1, 0]


@BOTH
@pytest.mark.parametrize(
    ("links", "text"),
    [
        ([1.0, -1.0], "next is of float64"),
        ([True, False], "next is of bool"),
        ([[1, -1]], r"shape \(1, 2\)"),
        (np.array([1, 2**64 - 1], np.uint64), "18446744073709551615, which is no node"),
        ([1, 2, -1, 4], r"next\[3\] is 4, but the nodes are 0 .. 3"),
        ([1, 2, -2], r"next\[2\] is -2"),
        ([3, 3, 3, -1], "node 3 follows both node 0 and node 1"),
        ([2, 1, 3, -1, 3], "node 3 follows both node 2 and node 4"),
        ([-1, 2, 3, 1], "node 1 is on a cycle"),
        ([1, 2, 0], "node 0 is on a cycle"),
    ],
)
def test_what_is_no_list_is_refused_by_name(rank, links, text):
    with pytest.raises(ConfigError, match=text):
        rank(links)


@pytest.mark.parametrize("length", [2, 40, 2000])
def test_a_cycle_beside_long_lists_is_found_wherever_it_is_cut(cluster, small, length):
    links = lists(5000, 3)
    links = np.concatenate([links, 5000 + np.roll(np.arange(length), 1)])
    with pytest.raises(ConfigError, match="node 5000 is on a cycle"):
        list_rank(links, cluster=cluster)


def test_importing_it_loads_no_compiler():
    code = "import sys, oche.algorithms.list_ranking, oche.algorithms.trees; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False"]
