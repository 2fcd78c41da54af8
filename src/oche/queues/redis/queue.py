"""Redis, or Valkey, 7 or newer: jobs in sorted sets, each verb a script (`verbs.lua`), so that none is ever half done.

Not streams: they know neither priority nor delay nor burial, and their consumers never die. Here a job belongs to a
connection, by the server's own id for it; who waits asks the server now and then which connections are still there
and gives back what the others held. A waiting connection is rung by a list of its own, so that one put wakes one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlsplit

from oche.errors import ConfigError, LeaseLost, QueueError, QueueFull
from oche.queues.redis.wire import Conversation
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

#: Seconds between two looks at which connections are still there: of one who goes on waiting, and of all together.
LOOKOUT, LOOK = 3.0, 0.2
#: Bytes of bodies put in one go.
BATCH_BYTES = 2**20

_PREFIX = "oche:"
_TRAITS = Traits(
    durable=False, delay=True, priority=True, touch=True, bury=True, signal=True, fanout=False, peek=True, counts=True,
    max_body=None, signal_pace=0.25,
)  # fmt: skip
_KINDS = {State.READY: "ready", State.DELAYED: "delayed", State.BURIED: "buried"}


@dataclass(frozen=True, slots=True)
class _Hold:
    """What a delivery stands for: the job, and the how-manieth delivery of it."""

    queue: RedisQueue
    id: bytes
    delivery: int
    attempts: int
    until: float  # by our clock: as long it is held for certain


class RedisQueue(BatchQueue):
    """A connection to a Redis 7, a Valkey, or newer."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._wire = Conversation(url)
        try:
            self._server = self._wire.info("server")["run_id"]
            self._me = f"{self._server}.{self._wire.command('CLIENT', 'ID')}"
            durable = self._wire.info("persistence").get("aof_enabled") == "1"
            # Those from before a restart are all gone.
            with suppress(QueueFull):  # on a disk that is full; a later look sees to it
                self._look_out(self._wire.command("SMEMBERS", f"{_PREFIX}connections"))
        except BaseException:
            self._wire.close("unwait", "")
            raise
        self.traits = replace(_TRAITS, durable=durable)
        self.life = "" if durable else self._server

    @classmethod
    def open(cls, url: str) -> Self:
        """`redis://host:6379/0`, `rediss://` with TLS, `redis://user:password@host`, as redis-py takes them."""
        if urlsplit(url).scheme not in ("redis", "rediss", "valkey") or not urlsplit(url).hostname:
            raise ConfigError(f"{url!r} is not of the form redis://host:6379/0")
        return cls(url.replace("valkey://", "redis://", 1))

    def clone(self) -> Self:
        return type(self)(self._url)

    # --- verbs

    def put_many(
        self, tube: str, bodies: Iterable[bytes], *,
        priority: int = DEFAULT_PRIORITY, delay: float = 0.0, lease: float = DEFAULT_LEASE,
    ) -> list[str]:  # fmt: skip
        ids: list[str] = []
        for batch in _batches(bodies):
            found = self._wire.run("put", tube, priority, max(delay, 0.0), lease, *batch)
            ids += [id.decode() for id in found]
        self._wire.check_open()
        return ids

    def reserve_many(
        self, tubes: Sequence[str], limit: int, timeout: float, *, done: Iterable[Delivery] = ()
    ) -> list[Delivery]:
        end = time.monotonic() + timeout
        pairs = self._pairs(done)
        longest = LOOK
        while True:
            sent = time.monotonic()
            pace = round(LOOK * 1000) if sent < end else ""
            (due, known), *jobs = self._take(limit, pace, pairs, tubes)
            pairs = []
            if jobs or not pace:
                return [self._deliver(job, sent) for job in jobs]
            self._look_out(known)
            # A moment more than until something is due, lest we come too early.
            wait = min(end - sent, longest, float(due or longest) + 0.001)
            self._wire.wait(f"{_PREFIX}bell:{self._me}", max(wait, 0.001))
            longest = LOOKOUT

    def _take(self, limit: int, pace: int | str, pairs: list[bytes | int], tubes: Sequence[str]) -> list[Any]:
        due, known, *parts = self._wire.run("take", self._me, limit, pace, len(pairs) // 2, *pairs, *tubes)
        return [(due, known), *(parts[i : i + 5] for i in range(0, len(parts), 5))]

    def _deliver(self, job: list[Any], sent: float) -> Delivery:
        id, body, delivery, attempts, lease = job
        return Delivery(body, _Hold(self, id, delivery, attempts, sent + float(lease)))

    def attempts(self, delivery: Delivery) -> int:
        if attempts := self.attempts_many([delivery])[0]:
            return attempts
        raise LeaseLost("the job is gone; drop it, it is done or somebody else has it")

    def attempts_many(self, deliveries: Sequence[Delivery]) -> list[int]:
        """What `reserve` was told, as long as the lease lasts for certain; then the server is asked."""
        holds = [self._mine(delivery) for delivery in deliveries]
        if all(time.monotonic() < hold.until for hold in holds):
            return [hold.attempts for hold in holds]
        pairs = [part for hold in holds for part in (hold.id, hold.delivery)]
        return list(self._wire.run("attempts", self._me, *pairs))

    def touch(self, delivery: Delivery) -> None:
        self._change("touch", delivery)

    def release(self, delivery: Delivery, *, delay: float = 0.0) -> None:
        self._change("release", delivery, max(delay, 0.0))

    def bury(self, delivery: Delivery, body: bytes | None = None) -> None:
        self._change("bury", delivery, *([] if body is None else [body]))

    def delete(self, delivery: Delivery) -> None:
        self._change("delete", delivery)

    def delete_many(self, deliveries: Iterable[Delivery]) -> None:
        if pairs := self._pairs(deliveries):
            self._wire.run("delete", self._me, *pairs)

    def kick(self, tube: str, limit: int) -> int:
        return int(self._wire.run("kick", tube, limit))

    def peek(self, tube: str, state: State) -> Peeked | None:
        if state is State.RESERVED:
            return None
        found = self._wire.run("peek", tube, _KINDS[state])
        return Peeked(found[0].decode(), found[1]) if found else None

    def discard(self, id: str) -> bool:
        return bool(self._wire.run("discard", id))

    def stats(self, tube: str) -> TubeStats:
        self._look_out(self._wire.run("lookout", round(LOOK * 1000)))
        ready, reserved, delayed, buried, watching, waiting = self._wire.run("stats", tube)
        return TubeStats(ready, reserved, delayed, buried, watching, waiting)

    def tubes(self, prefix: str) -> list[str]:
        self._look_out(self._wire.run("lookout", round(LOOK * 1000)))
        return sorted(name.decode() for name in self._wire.run("tubes", prefix))

    def signal(self, name: str) -> None:
        self._wire.command("SADD", f"{_PREFIX}signals", name)

    def signals(self, prefix: str) -> set[str]:
        names = {name.decode() for name in self._wire.command("SMEMBERS", f"{_PREFIX}signals")}
        return {name for name in names if name.startswith(prefix)}

    def unsignal(self, name: str) -> None:
        self._wire.command("SREM", f"{_PREFIX}signals", name)

    def inspect(self) -> Report:
        found: dict[str, str | float] = {}
        for section in ("server", "memory", "persistence", "replication"):
            found |= self._wire.info(section)
        with suppress(QueueError):  # not every user may ask
            for name in ("appendfsync", "protected-mode"):
                found[name] = self._wire.setting(name)
        seconds, micros = self._wire.command("TIME")
        return {**found, "version": str(found["redis_version"]), "time": int(seconds) + int(micros) / 1e6}

    def close(self) -> None:
        if not self._wire.close("forget", self._me):  # it was in use: by another connection, then
            with suppress(QueueError), type(self)(self._url) as other:
                other._wire.run("forget", self._me)

    # --- what they stand on

    def _look_out(self, names: Iterable[bytes]) -> None:
        """Gives back what those of these connections held that are gone."""
        known = [name.decode() for name in names]
        ids = [name.partition(".")[2] for name in known if name.startswith(self._server)]
        listing = self._wire.command("CLIENT", "LIST", "ID", *ids).decode() if ids else ""
        there = {line.split(" ", 1)[0].removeprefix("id=") for line in listing.splitlines()}
        lost = [name for name in known if not (name.startswith(self._server) and name.partition(".")[2] in there)]
        if lost:
            self._wire.run("forget", *lost)

    def _change(self, verb: str, delivery: Delivery, *more: bytes | float) -> None:
        hold = self._mine(delivery)
        if not self._wire.run(verb, self._me, hold.id, hold.delivery, *more):
            raise LeaseLost(f"job {hold.id.decode()} is not held here any more; drop it, it is done or somebody has it")

    def _mine(self, delivery: Delivery) -> _Hold:
        self._wire.check_open()
        hold = delivery.handle
        if not isinstance(hold, _Hold) or hold.queue is not self:
            raise LeaseLost("the job was handed to another connection; use the queue that reserved it")
        return hold

    def _pairs(self, deliveries: Iterable[Delivery]) -> list[bytes | int]:
        pairs: list[bytes | int] = []
        for delivery in deliveries:
            with suppress(LeaseLost):
                hold = self._mine(delivery)
                pairs += [hold.id, hold.delivery]
        self._wire.check_open()
        return pairs


def _batches(bodies: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for body in bodies:
        if batch and size + len(body) > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(body)
        size += len(body)
    if batch:
        yield batch
