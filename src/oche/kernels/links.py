"""Linked lists in an array, walked many at a time: one walk waits for memory at every link, 64 walks wait together.

A list is an array of links: i is followed by links[i]. `read` checks the links that a user gave; `walk` follows many
sublists at once and writes down which nodes it meets, in the order in which it meets them; `spread` goes through that
record again, once it is known how far from the end each sublist begins, and gives every node its rank.

The record is dense and has no marks. Lanes take turns, one node each; a lane whose sublist has ended takes the next
one, and when there is none the last lane moves into its place. So lengths alone tell whose node each entry is.
"""

from __future__ import annotations

import numpy as np

from oche.kernels.compiling import compiled
from oche.kernels.stopping import Array, StopByte, look

#: Walks under way at a time in one call: twice as many gain nothing, a quarter loses half of the speed.
LANES = 64
#: Nodes between two looks at the stop byte: 3 to 10 ms.
SLICE = 2**18


def read(following: Array, links: Array) -> tuple[int, Array]:
    """Copies the links, an end always as -1; returns the first bad node or -1, and the heads: nodes that follow none.

    `following` is int32 or int64, `links` as long and any integers that hold it. A node ends its list with -1 or
    itself; it is bad if what follows it is no node, or follows an earlier node, too.
    """
    followers = np.zeros(len(following) // 8 + 1, np.uint8)
    bad = int(_read(following, links, followers))
    follows = np.unpackbits(followers, count=len(following), bitorder="little")
    return bad, np.flatnonzero(follows == 0).astype(links.dtype)


@compiled
def _read(following: Array, links: Array, followers: Array) -> int:
    """`followers` has a bit for each node: an eighth of the bytes stays in the cache, which is four times as fast."""
    n = following.size
    for i in range(n):
        j = following[i]
        if j == i or j == -1:
            links[i] = -1
            continue
        if j < 0 or j >= n:
            return i
        bit = np.uint8(1 << (j & 7))
        if followers[j >> 3] & bit:
            return i
        followers[j >> 3] |= bit
        links[i] = j
    return -1


def walk(links: Array, heads: Array, room: int, stop: StopByte | None = None) -> tuple[Array, Array] | None:
    """Follows the sublists that begin at `heads`; None if they have more than `room` nodes together.

    A sublist goes on while a link is 0 .. n - 1, and ends with a link of -1 (its list ends) or n + k (sublist k goes
    on from here). Returns the record of nodes, like `links`, and a row for each head: how many nodes, and the k or -1.
    No link may be on two walks. Looks at `stop[0]` every few ms: raises `CancelledError` once it is not zero.
    """
    record = np.empty(min(room, len(links)), links.dtype)
    table = np.zeros((len(heads), 2), np.int64)
    lanes = np.zeros((3, LANES), np.int64)
    state = np.zeros(4, np.int64)
    while True:
        look(stop, f"after {state[2]} of {len(links)} links")
        if not _walk(links, heads, lanes, state, record, table, SLICE):
            return None
        if not state[0]:
            return record[: state[2]], table


@compiled
def _walk(links: Array, heads: Array, lanes: Array, state: Array, record: Array, table: Array, most: int) -> bool:
    """About `most` nodes further; False if the record is full. state: lanes in use, heads taken, nodes, sweeps."""
    node, name, begun = lanes[0], lanes[1], lanes[2]
    live, taken, at, sweep = state[0], state[1], state[2], state[3]
    if sweep == 0:
        while live < min(len(heads), node.size):
            node[live], name[live] = heads[live], live
            live += 1
        taken = live
    n, until = links.size, at + most
    while live > 0 and at < until:
        if at + live > record.size:
            return False
        # Nothing but loads here, each independent of the others: the processor has as many under way as it can.
        for k in range(live):
            record[at + k] = node[k]
            node[k] = links[node[k]]
        at += live
        sweep += 1
        ended = False
        for k in range(live):
            ended |= (node[k] < 0) | (node[k] >= n)
        if not ended:
            continue
        k = 0
        while k < live:
            after = node[k]
            if 0 <= after < n:
                k += 1
                continue
            table[name[k], 0] = sweep - begun[k]
            table[name[k], 1] = after - n if after >= 0 else -1
            if taken < len(heads):
                node[k], name[k], begun[k] = heads[taken], taken, sweep
                taken += 1
                k += 1
            else:
                live -= 1
                node[k], name[k], begun[k] = node[live], name[live], begun[live]
    state[0], state[1], state[2], state[3] = live, taken, at, sweep
    return True


def spread(record: Array, lengths: Array, first: Array, ranks: Array) -> None:
    """Gives the nodes of a `walk` their ranks: first[k], first[k] - 1, ... along sublist k of lengths[k] nodes."""
    _spread(record, lengths, first, ranks, np.zeros((2, LANES), np.int64))


@compiled
def _spread(record: Array, lengths: Array, first: Array, ranks: Array, lanes: Array) -> None:
    left, rank = lanes[0], lanes[1]
    live = min(len(lengths), left.size)
    for k in range(live):
        left[k], rank[k] = lengths[k], first[k]
    taken, at = live, 0
    while live > 0:
        sweeps = left[:live].min()  # so many before any lane ends
        for s in range(sweeps):
            for k in range(live):
                ranks[record[at + k]] = rank[k] - s
            at += live
        left[:live] -= sweeps
        rank[:live] -= sweeps
        k = 0
        while k < live:
            if left[k] > 0:
                k += 1
            elif taken < len(lengths):
                left[k], rank[k] = lengths[taken], first[taken]
                taken += 1
                k += 1
            else:
                live -= 1
                left[k], rank[k] = left[live], rank[live]


def first_ranks(table: Array, begins: Array) -> Array:
    """The rank of each sublist's head, of whole lists that begin with the sublists `begins`; -1 where none came by."""
    first = np.full(len(table), -1, np.int64)
    _first_ranks(table, begins, first)
    return first


@compiled
def _first_ranks(table: Array, begins: Array, first: Array) -> None:
    for begin in begins:
        rank, k = -1, begin
        while k >= 0:
            rank += table[k, 0]
            k = table[k, 1]
        k = begin
        while k >= 0:
            first[k] = rank
            rank -= table[k, 0]
            k = table[k, 1]


def on_a_cycle(links: Array, heads: Array) -> int:
    """The smallest node on a cycle, or -1; `links` and `heads` as `read` made them."""
    return int(_on_a_cycle(links, heads, np.zeros(len(links), np.bool_)))


@compiled
def _on_a_cycle(links: Array, heads: Array, seen: Array) -> int:
    for head in heads:
        i = head
        while i >= 0:
            seen[i] = True
            i = links[i]
    for i in range(links.size):
        if not seen[i]:  # no head leads here, and no node has two predecessors: so the way back leads round
            return i
    return -1


def jump(links: Array, ranks: Array, lo: int, hi: int) -> tuple[Array, Array]:
    """One step of pointer jumping for the nodes lo .. hi - 1: their new links, twice as far, and their new ranks."""
    further, more = np.empty(hi - lo, links.dtype), np.empty(hi - lo, ranks.dtype)
    _jump(links, ranks, lo, further, more)
    return further, more


@compiled
def _jump(links: Array, ranks: Array, lo: int, further: Array, more: Array) -> None:
    for k in range(further.size):
        j = links[lo + k]
        further[k], more[k] = j, ranks[lo + k]
        if j >= 0:
            further[k] = links[j]
            more[k] += ranks[j]


def walk_plain(links: Array, heads: Array) -> list[list[int]]:
    """The nodes of each sublist in order, in plain Python: what is in a `walk`'s record, lane by lane."""
    n, found = len(links), []
    for head in heads:
        nodes, i = [], int(head)
        while 0 <= i < n:
            nodes.append(i)
            i = int(links[i])
        found.append(nodes)
    return found


def ranks_plain(following: Array) -> list[int]:
    """The number of links from each node to the end of its list, by a walk in plain Python; the lists are right."""
    n = len(following)
    after = [-1 if j == i else int(j) for i, j in enumerate(following)]
    ranks = [0] * n
    for head in set(range(n)).difference(after):
        nodes = [head]
        while (j := after[nodes[-1]]) >= 0:
            nodes.append(j)
        for rank, i in enumerate(reversed(nodes)):
            ranks[i] = rank
    return ranks
