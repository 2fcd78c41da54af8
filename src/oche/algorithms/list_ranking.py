"""List ranking: how many links from each node of a linked list to its end.

Helman and JaJa, "Designing practical efficient algorithms for symmetric multiprocessors", ALENEX 1999. Cut at random
links, a list falls into sublists, and whoever has a head can walk:

    a list       o-->o-->o-->o-->o-->o-->o-->o-->o-->o
    cut          o-->o-->o | o-->o | o-->o-->o-->o | o      round 1: each call walks a group of sublists, 64 at a time
    heads        9           6       4               0      the client: sublist after sublist, by their lengths
    ranks        9   8   7   6   5   4   3   2   1   0      the client: every node by its sublist's record

Ranks go to nodes in any order of memory, which no call could `place`. They are written by the client: unlike the
loads of a walk these stores wait for nothing, so that they take a tenth of the time of one walk, less than a second
round would take to sort them by place, send them and write them.
"""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

import numpy as np

from oche.algorithms.nodes import node_row
from oche.algorithms.team import CRASHES, Team, spans
from oche.errors import ConfigError
from oche.stores.arrays import Array, ArrayRef, Shared, place, view
from oche.wire.task import task
from oche.worker.context import stop_byte

#: Nodes of a sublist, on average. The longest of many is about ten times as long: short to wait for at a group's end.
SUBLIST = 1024
#: Nodes of a group of sublists, which is one call: some 40 ms. No more than these in all are not sent anywhere.
GROUP = 2**21
#: Room for a group's record, in parts of what it has on average. Groups of random sublists differ by a few percent.
ROOM = 1.25
#: Nodes of a call of pointer jumping.
BLOCK = 2**20


def list_rank(next: Any, *, cluster: Executor | None = None, progress: bool = False) -> Array:
    """The rank of every node of one or many linked lists: the number of links from it to the end of its list.

    `next`: n integers; node i is followed by node next[i], and -1 or i itself says that a list ends with i. Returns
    n int64, 0 for an end. The distance from the head h of a list is rank[h] - rank. O(n) work in one round.

    Raises `ConfigError` for what is no such list: other dtypes and shapes, a node that is out of range, that follows
    two nodes, or that is on a cycle; and what the cluster raises.
    """
    following = node_row(next, "next")
    n = len(following)
    if not n:
        return np.empty(0, np.int64)
    links, begins = _read(following)
    from oche.kernels.links import first_ranks, on_a_cycle, spread

    if not len(begins):
        raise _cycle(on_a_cycle(links, begins))
    random = np.random.Generator(np.random.Philox(n))  # any cuts will do: no rank depends on them
    cuts = np.unique(random.integers(0, n, n // SUBLIST))
    cuts = cuts[links[cuts] >= 0]
    heads = np.concatenate([begins, links[cuts]])
    # Sublists get their numbers by lot, so that groups are about equal, however lists of all lengths lie in memory.
    numbers = random.permutation(len(heads)).astype(links.dtype)
    links[cuts] = n + numbers[len(begins) :]
    shuffled = np.empty_like(heads)
    shuffled[numbers] = heads
    with Team(cluster if n > GROUP else None, progress=progress) as team:  # a single group is walked here
        groups, table, records = _walk_all(team, links, shuffled)
    first = first_ranks(table, numbers[: len(begins)])
    if int(table[:, 0].sum()) < n or (first < 0).any():
        raise _cycle(on_a_cycle(*_read(following)))
    ranks = np.empty(n, np.int64)
    for (lo, hi), record in zip(groups, records, strict=True):
        spread(record, table[lo:hi, 0], first[lo:hi], ranks)
    return ranks


def _walk_all(team: Team, links: Array, heads: Array) -> tuple[list[tuple[int, int]], Array, list[Array]]:
    """Groups of sublists; a row for each sublist, its length and what comes after it; each group's record."""
    from oche.kernels.links import walk

    count = -(-len(links) // GROUP)
    groups = spans(len(heads), -(-len(heads) // count))
    room = len(links) if count == 1 else int(ROOM * GROUP)
    records = team.blank((len(groups), room), links.dtype)
    table = team.blank((len(heads), 2), np.dtype(np.int64))
    calls = [(group, lo, hi) for group, (lo, hi) in enumerate(groups)]
    shared = {"links": team.share(links), "heads": team.share(heads), "records": records, "table": table}
    done = team.round(_walk_group, calls, **shared)
    rows = team.collect(table, [((lo,), got[2]) for (lo, _), got in zip(groups, done, strict=True)])
    kept = team.collect(records, [])  # those that came in the outcomes are taken as they are
    found = [kept[group, : got[0]] if got[1] is None else got[1][0] for group, got in enumerate(done)]
    for group, (lo, hi) in enumerate(groups):
        if done[group][0] < 0:  # more nodes than there was room for: nobody's lists but those made for these very cuts
            walked = walk(links, heads[lo:hi], len(links))
            assert walked is not None
            found[group], rows[lo:hi] = walked
    return groups, rows, found


@task(crashes=CRASHES)
def _walk_group(
    group: int, lo: int, hi: int, *, links: Shared, heads: Shared, records: ArrayRef, table: ArrayRef
) -> tuple[int, Array | None, Array | None]:
    """Walks the sublists lo .. hi - 1; the number of their nodes, or -1 if that is more than a record has room for."""
    from oche.kernels.links import walk

    walked = walk(view(links), view(heads)[lo:hi], records.shape[1], stop_byte())
    if walked is None:
        return -1, None, None
    record, rows = walked
    return len(record), place(records, (group,), record[None]), place(table, (lo,), rows)


def list_rank_jumping(next: Any, *, cluster: Executor | None = None, progress: bool = False) -> Array:
    """What `list_rank` returns and raises, by pointer jumping: every node looks twice as far in each round.

    J. C. Wyllie, "The complexity of parallel computations", Cornell, 1979. ceil(log2 n) rounds, each of which reads
    and writes everything: the shortest program for a processor per node, and a lesson for fewer. To be compared.
    """
    following = node_row(next, "next")
    n = len(following)
    links, _ = _read(following)
    ranks = (links >= 0).astype(np.int64)
    blocks = spans(n, BLOCK)
    for _ in range(max(n - 1, 0).bit_length()):
        with Team(cluster, progress=progress) as team:  # one a round, so that old links are not kept
            outs = team.blank((n,), links.dtype), team.blank((n,), ranks.dtype)
            done = team.round(_jump_block, blocks, links=team.share(links), ranks=team.share(ranks), outs=outs)
            links, ranks = (
                team.collect(out, [((lo,), got[which]) for (lo, _), got in zip(blocks, done, strict=True)])
                for which, out in enumerate(outs)
            )
    if (links >= 0).any():
        from oche.kernels.links import on_a_cycle

        raise _cycle(on_a_cycle(*_read(following)))
    return ranks


@task(crashes=CRASHES)
def _jump_block(
    lo: int, hi: int, *, links: Shared, ranks: Shared, outs: tuple[ArrayRef, ArrayRef]
) -> tuple[Array | None, Array | None]:
    """The next links and ranks of the nodes lo .. hi - 1."""
    from oche.kernels.links import jump

    further, more = jump(view(links), view(ranks), lo, hi)
    return place(outs[0], (lo,), further), place(outs[1], (lo,), more)


def _read(following: Array) -> tuple[Array, Array]:
    """The links, an end always as -1, and the heads of the lists, in ascending order."""
    from oche.kernels.links import read

    n = len(following)
    # A link is below n, or n plus the number of a sublist: half the bytes where these are below 2**31.
    links = np.empty(n, np.int32 if 2 * n + n // SUBLIST < 2**31 else np.int64)
    bad, heads = read(following, links)
    if bad < 0:
        return links, heads
    after = int(following[bad])
    if not -1 <= after < n:
        raise ConfigError(f"next[{bad}] is {after}, but the nodes are 0 .. {n - 1}; an end of a list is -1")
    other = next(int(i) for i in np.flatnonzero(following[:bad] == after) if i != after)
    raise ConfigError(f"node {after} follows both node {other} and node {bad}; in a list it follows one, or is a head")


def _cycle(node: int) -> ConfigError:
    return ConfigError(f"node {node} is on a cycle, which has no end; end that list with a -1, or leave it out")
