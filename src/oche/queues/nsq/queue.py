"""NSQ 1.2 or newer: a tube is a topic with one channel, on each of several nsqds that know nothing of each other.

Jobs are put to one nsqd and taken from all. nsqd holds a message for a connection and counts how often it handed it
out; a job that is given back uncounted, set aside or delayed is put again as a new message, with a line behind its
body that says what the new message does not (`nsq_names`). How leases are kept is told in `nsq_holds`.

What NSQ cannot do: it knows neither priorities nor places in a line, shows no message without handing it out, and
cannot delete one. Whatever it holds for somebody, or delays, is in its memory only, also with `--mem-queue-size 0`: so
that the trait `durable` is False, and clients put again what an nsqd that was killed may have forgotten. For the
same reason a delay is written behind the body, and holds though nsqd forgets to wait.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NoReturn, Self
from uuid import uuid4

from nsq import protocol

from oche.errors import LeaseLost, TooLarge, Unsupported
from oche.queues.nsq.api import CLOSING, Client
from oche.queues.nsq.holds import SOON, Hold, Holds
from oche.queues.nsq.names import BURIED, LONG, ROOM, SIGNAL, Facts, topic_of, tube_of, unwrap
from oche.queues.nsq.nodes import Node
from oche.queues.nsq.talk import Talk
from oche.queues.seam import (
    DEFAULT_LEASE,
    DEFAULT_PRIORITY,
    BatchQueue,
    Delivery,
    Peeked,
    Report,
    State,
    Traits,
    TubeStats,
)

#: Seconds for which a topic must have been seen idle before it is deleted.
IDLE = 60.0

#: What `inspect` tells.
_OPTIONS = ("mem_queue_size", "sync_every", "sync_timeout", "max_msg_size", "max_msg_timeout", "max_req_timeout")

_TRAITS = Traits(
    durable=False, delay=True, priority=False, touch=True, bury=True, signal=True, fanout=False, peek=False,
    counts=True, max_body=None, signal_pace=0.5,
)  # fmt: skip


class NSQQueue(BatchQueue):
    """Connections to one nsqd or several."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._talk = Talk(url)
        self._holds = Holds(self._talk)
        self._talk.tend, self._talk.farewell = self._holds.tend, self._holds.farewell
        self._idle: dict[str, float] = {}  # topic -> since when it was seen to be idle
        self.life = self._talk.life
        self.traits = replace(_TRAITS, max_body=min(node.largest for node in self._talk.nodes) - ROOM)

    @classmethod
    def open(cls, url: str) -> Self:
        """`nsq://host:4150,other:4150`, with the HTTP API one port above, or `nsq+lookupd://host:4161`."""
        return cls(url)

    def clone(self) -> Self:
        return type(self)(self._url)

    # --- verbs

    def put_many(
        self, tube: str, bodies: Iterable[bytes], *,
        priority: int = DEFAULT_PRIORITY, delay: float = 0.0, lease: float = DEFAULT_LEASE,
    ) -> list[str]:  # fmt: skip
        """The ids are made up: nsqd does not tell its own, and knows no verb that takes one."""
        topic = topic_of(tube)
        given = list(bodies)
        for body in given:
            self._check(body)
        facts = Facts(lease=lease, due=time.time() + delay if delay > 0.0 else 0.0)
        with self._talk.talk():
            self._talk.home.put(topic, given, facts)
        return [uuid4().hex for _ in given]

    def reserve_many(
        self, tubes: Sequence[str], limit: int, timeout: float, *, done: Iterable[Delivery] = ()
    ) -> list[Delivery]:
        with self._talk.talk():
            self._holds.end(self._still_held(done), now=False)
            return [Delivery(hold.body, hold) for hold in self._holds.take(tubes, limit, timeout)]

    def attempts(self, delivery: Delivery) -> int:
        with self._talk.talk():
            return self._mine(delivery).attempts

    def touch(self, delivery: Delivery) -> None:
        with self._talk.talk():
            hold = self._mine(delivery)
            hold.until = time.monotonic() + hold.facts.lease

    def release(self, delivery: Delivery, *, delay: float = 0.0) -> None:
        with self._talk.talk():
            hold = self._mine(delivery)
            due = time.time() + delay if delay > 0.0 else 0.0
            self._told(self._holds.move(hold, handed=hold.attempts - 1, due=due), hold)

    def bury(self, delivery: Delivery, body: bytes | None = None) -> None:
        if body is not None:
            self._check(body)
        with self._talk.talk():
            hold = self._mine(delivery)
            topic = topic_of(hold.tube, BURIED)
            self._told(self._holds.move(hold, handed=hold.attempts, topic=topic, body=body), hold)

    def delete(self, delivery: Delivery) -> None:
        with self._talk.talk():
            hold = self._mine(delivery)
            self._told(not self._holds.end([hold]), hold)

    def delete_many(self, deliveries: Iterable[Delivery]) -> None:
        with self._talk.talk():
            self._holds.end(self._still_held(deliveries))

    def kick(self, tube: str, limit: int) -> int:
        """Buried jobs only: what nsqd delays, nobody can hasten."""
        kicked = 0
        with self._talk.talk():
            for node in self._talk.nodes:
                there = node.api.topic(topic_of(tube, BURIED)).waiting
                if wanted := min(limit - kicked, there):
                    kicked += self._kick(node, tube, wanted)
        return kicked

    def peek(self, tube: str, state: State) -> Peeked | None:
        self._cannot("show a job without handing it out; `oche status` shows the counts")

    def discard(self, id: str) -> bool:
        self._cannot("delete one job by its id; take it, or delete its topic in nsqadmin")

    def stats(self, tube: str) -> TubeStats:
        plain = topic_of(tube)
        ready = reserved = delayed = aside = 0
        clients: list[Client] = []
        with self._talk.talk():
            for node in self._talk.nodes:
                for found in node.settled(plain, lambda api=node.api: api.topics(clients=True)):  # type: ignore[misc]
                    if found.topic_name == plain:
                        ready += found.waiting
                        reserved += found.ours.in_flight_count
                        delayed += found.ours.deferred_count
                        clients += found.ours.clients or ()
                    elif (kind := tube_of(found.topic_name)) == (tube, BURIED):
                        aside += found.holds
                    elif kind == (tube, LONG):
                        reserved += found.holds
        there = {client.client_id for client in clients if client.state != CLOSING}
        waiting = {client.client_id for client in clients if client.ready_count > client.in_flight_count}
        return TubeStats(ready, reserved, delayed, aside, len(there), len(waiting))

    def tubes(self, prefix: str) -> list[str]:
        """Topics of killed processes that nobody needs go on the way, once they were idle for a while."""
        names: set[str] = set()
        now = time.monotonic()
        idle: dict[str, float] = {}
        with self._talk.talk():
            for node in self._talk.nodes:
                for found in node.api.topics(clients=True):
                    tube, kind = tube_of(found.topic_name)
                    watched = any(client.state != CLOSING for client in found.ours.clients or ())
                    holds = found.holds > 0 or found.between
                    if tube and tube.startswith(prefix) and kind != SIGNAL and (holds or (watched and not kind)):
                        names.add(tube)
                    elif tube and not kind and not holds and not watched:
                        key = f"{node.life} {found.topic_name}"
                        idle[key] = self._idle.get(key, now)
                        if now - idle[key] > IDLE and len(found.channels or ()) == 1:
                            node.drop(found.topic_name)
        self._idle = idle
        return sorted(names)

    def signal(self, name: str) -> None:
        with self._talk.talk():
            for node in self._talk.nodes:
                node.api.make(topic_of(name, SIGNAL))

    def signals(self, prefix: str) -> set[str]:
        with self._talk.talk():
            topics = [tube_of(found.topic_name) for node in self._talk.nodes for found in node.api.topics()]
        return {name for name, kind in topics if kind == SIGNAL and name.startswith(prefix)}

    def unsignal(self, name: str) -> None:
        with self._talk.talk():
            for node in self._talk.nodes:
                node.drop(topic_of(name, SIGNAL))

    def inspect(self) -> Report:
        """Of the nsqd that this connection puts to; durations in nanoseconds, as it counts them."""
        with self._talk.talk():
            api = self._talk.home.api
            return {**{name: api.option(name) for name in _OPTIONS}, "version": api.version()}

    def close(self) -> None:
        self._talk.close()

    # --- what they stand on

    def _kick(self, node: Node, tube: str, limit: int) -> int:
        """Takes messages that are there from the topic of those that were set aside, and puts them back."""
        line = node.subscribe(topic_of(tube, BURIED))
        kicked = 0
        try:
            while kicked < limit:
                line.let(min(limit - kicked, 100))
                end = time.monotonic() + SOON
                while not line.arrived and time.monotonic() < end:
                    line.settle()
                if not line.arrived:  # somebody else kicks, too
                    break
                came = line.arrived.popleft()
                body, facts = unwrap(came.message)
                node.put(topic_of(tube), [body], Facts(handed=facts.handed, lease=facts.lease))
                line.send(protocol.finish(came.id))
                kicked += 1
            line.let(0)
            line.settle()
            for came in line.arrived:
                line.send(protocol.requeue(came.id))
            line.settle()
        finally:
            line.close()
        return kicked

    def _mine(self, delivery: Delivery) -> Hold:
        hold = delivery.handle
        if not isinstance(hold, Hold) or hold.owner is not self._holds:
            raise LeaseLost("the job was handed to another connection; use the queue that reserved it")
        self._told(self._holds.has(hold), hold)
        return hold

    def _told(self, held: bool, hold: Hold) -> None:
        if not held:
            raise LeaseLost(f"a job of {hold.tube} is not held here any more; drop it, it is done or somebody has it")

    def _still_held(self, deliveries: Iterable[Delivery]) -> list[Hold]:
        held: list[Hold] = []
        for delivery in deliveries:
            with suppress(LeaseLost):
                held.append(self._mine(delivery))
        return held

    def _check(self, body: bytes) -> None:
        limit = self.traits.max_body
        if limit is not None and len(body) > limit:
            raise TooLarge(
                f"the body has {len(body)} bytes, over the limit of {limit}; start nsqd with a larger --max-msg-size, "
                "or send a reference into a store"
            )

    def _cannot(self, what: str) -> NoReturn:
        with self._talk.talk():
            raise Unsupported(f"NSQ cannot {what}")
