"""Gearman: gearmand 1.1.20 or newer, its background jobs, and its text commands to see what is there.

Nothing that gearmand holds outlives it, so its queue is not trusted: each client keeps a ledger, and puts again what
vanished. A tube is a function, a put a background job, a delete "work complete"; a connection that ends gives
back what it held. What Gearman lacks is made up for with more functions (`gearman_names`):

- A job that is released, buried or delayed is put anew elsewhere, then ended here. What the server does not know of it
  (lease, priority, attempts) is its unique key, so the body is the bare job, and one of any other client is like ours.
- The server counts how often a job was lost with its holder, and tells in a listing of all jobs. Where that listing
  is long it is asked for seldom, and a loss may be counted late.
- Delayed jobs go to their tube when somebody who reserves from it finds, once a second, that it is time; by the
  clocks of the two machines.
- There are no leases. A connection gives back what it held for too long at its next verb. A process that is
  stopped, or cut off, keeps its jobs, so that the trait `leases` is False: clients put a copy of what is late.

Three levels of priority, and several tubes are several lines, hence the trait `priority` is False. What is given back,
in whatever way, is the youngest afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Self
from uuid import uuid4

from oche.errors import LeaseLost
from oche.queues.gearman.holds import Hold, Holds
from oche.queues.gearman.moves import BATCH, submission, transfer
from oche.queues.gearman.names import (
    LIFE,
    SIGNAL,
    Function,
    Label,
    buried,
    check_tube,
    delayed,
    functions,
    level,
    of_tube,
    raised,
    signal_of,
)
from oche.queues.gearman.wire import PORT, Conversation, address
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

#: Bytes of bodies put in one go.
BATCH_BYTES = 2**22

_KINDS = {State.READY: "", State.DELAYED: "delay", State.BURIED: "buried"}


class GearmanQueue(BatchQueue):
    """A connection to a gearmand."""

    traits = Traits(
        durable=False, delay=True, priority=False, touch=True, bury=True, signal=True, fanout=False, peek=True,
        counts=True, max_body=None, signal_pace=0.5, leases=False,
    )  # fmt: skip

    def __init__(self, host: str, port: int = PORT) -> None:
        self._host, self._port = host, port
        self._wire = Conversation(host, port)
        self._holds = Holds(self._wire)
        try:
            with self._talk():
                self.life = self._life()
        except BaseException:
            self._wire.close()
            raise

    @classmethod
    def open(cls, url: str) -> Self:
        """`gearman://host` or `gearman://host:port`."""
        return cls(*address(url))

    def clone(self) -> Self:
        return type(self)(self._host, self._port)

    # --- verbs

    def put_many(
        self, tube: str, bodies: Iterable[bytes], *,
        priority: int = DEFAULT_PRIORITY, delay: float = 0.0, lease: float = DEFAULT_LEASE,
    ) -> list[str]:  # fmt: skip
        function = delayed(check_tube(tube), delay) if delay > 0.0 else check_tube(tube)
        ids: list[str] = []
        batch: list[bytes] = []
        size = 0
        with self._talk():
            for body in bodies:
                label = Label(uuid4().hex, level(priority), lease)
                ids.append(f"{tube}/{label.id}")
                batch.append(submission(function, label, body))
                size += len(body)
                if len(batch) == BATCH or size > BATCH_BYTES:
                    self._wire.line.put(batch)
                    batch, size = [], 0
            if batch:
                self._wire.line.put(batch)
        return ids

    def reserve_many(
        self, tubes: Sequence[str], limit: int, timeout: float, *, done: Iterable[Delivery] = ()
    ) -> list[Delivery]:
        with self._talk():
            self._holds.end(self._still_held(done), now=False)
            taken = self._holds.take([check_tube(tube) for tube in tubes], limit, timeout)
            return [Delivery(hold.job.body, hold) for hold in taken]

    def attempts(self, delivery: Delivery) -> int:
        with self._talk():
            hold = self._mine(delivery)
            self._holds.count_losses([hold])
            return hold.attempts

    def attempts_many(self, deliveries: Sequence[Delivery]) -> list[int]:
        with self._talk():
            self._holds.count_losses(self._still_held(deliveries))
            return [self._attempts(delivery) for delivery in deliveries]

    def touch(self, delivery: Delivery) -> None:
        with self._talk():
            hold = self._mine(delivery)
            hold.line.settle()  # the server is there, and so is what is held
            hold.until = time.monotonic() + hold.label.lease

    def release(self, delivery: Delivery, *, delay: float = 0.0) -> None:
        with self._talk():
            hold = self._mine(delivery)
            self._holds.count_losses([hold])
            tube = hold.job.function
            self._holds.move(hold, delayed(tube, delay) if delay > 0.0 else tube, handed=hold.attempts - 1)

    def bury(self, delivery: Delivery, body: bytes | None = None) -> None:
        with self._talk():
            hold = self._mine(delivery)
            self._holds.count_losses([hold])
            self._holds.move(hold, buried(hold.job.function), handed=hold.attempts, body=body)

    def delete(self, delivery: Delivery) -> None:
        with self._talk():
            self._holds.end([self._mine(delivery)])

    def delete_many(self, deliveries: Iterable[Delivery]) -> None:
        with self._talk():
            self._holds.end(self._still_held(deliveries))

    def kick(self, tube: str, limit: int) -> int:
        with self._talk():
            found, kicked = self._status(), 0
            for function in of_tube(found, tube, "buried"):
                kicked += len(transfer(self._wire, function, tube, limit - kicked))
            for function in of_tube(found, tube, "delay") if kicked == 0 else []:
                kicked += len(transfer(self._wire, function, tube, limit - kicked))
            return kicked

    def peek(self, tube: str, state: State) -> Peeked | None:
        """A ready job that was looked at is the youngest of its level then."""
        with self._talk():
            for function in of_tube(self._status(), tube, _KINDS[state]) if state in _KINDS else []:
                for label, body in transfer(self._wire, function, function.name, 1):
                    return Peeked(f"{tube}/{label.id}", body)
        return None

    def discard(self, id: str) -> bool:
        """Takes all jobs of the tube and puts the others again, so that it takes its time in a long one."""
        tube, _, number = id.rpartition("/")
        with self._talk():
            return any(
                label.id == number
                for function in self._status()
                if function.tube == tube
                for label, _ in transfer(self._wire, function, function.name, function.queued, without=number)
            )

    def stats(self, tube: str) -> TubeStats:
        with self._talk():
            found = [function for function in self._status() if function.tube == tube]
        kinds = {kind: of_tube(found, tube, kind) for kind in ("", "delay", "buried", "waiting")}
        return TubeStats(
            ready=sum(function.queued for function in kinds[""]),
            reserved=sum(function.running for function in found),
            delayed=sum(function.queued for function in kinds["delay"]),
            buried=sum(function.queued for function in kinds["buried"]),
            watching=sum(function.workers for function in kinds[""]),
            waiting=sum(function.workers for function in kinds["waiting"]),
        )

    def tubes(self, prefix: str) -> list[str]:
        """The server forgets no function by itself. Those of our tubes that nobody needs any more are dropped here."""
        with self._talk():
            found = [function for function in self._status() if function.tube and function.name.startswith(prefix)]
            needed = {function.tube for function in found if not function.idle}
            ours = {function.tube for function in found if function.kind == "waiting"}
            for function in found:
                if function.tube in ours - needed:
                    self._wire.line.tell(f"drop function {function.name}")
        return sorted(needed)

    def signal(self, name: str) -> None:
        with self._talk():
            self._wire.line.tell(f"create function {raised(name)}")

    def signals(self, prefix: str) -> set[str]:
        with self._talk():
            names = {signal_of(function.name) for function in self._status() if function.name.startswith(SIGNAL)}
            return {name for name in names if name.startswith(prefix)}

    def unsignal(self, name: str) -> None:
        with self._talk():
            self._wire.line.tell(f"drop function {raised(name)}")

    def inspect(self) -> Report:
        with self._talk():
            return {"version": self._wire.line.ask("version"), "pid": self._wire.line.ask("getpid")}

    def close(self) -> None:
        self._wire.close()

    # --- what they stand on

    @contextmanager
    def _talk(self) -> Iterator[None]:
        with self._wire.talk():
            self._holds.end_leases()
            yield

    def _status(self) -> list[Function]:
        return functions(self._wire.line.list("status"))

    def _life(self) -> str:
        """Named by whoever finds it without a name. Two may do so at once: then the lesser name is the right one."""
        lives: list[str] = []
        while not lives:
            lives = [found.name.removeprefix(LIFE) for found in self._status() if found.name.startswith(LIFE)]
            if not lives:
                self._wire.line.tell(f"create function {LIFE}{uuid4().hex}")
        return min(lives)

    def _mine(self, delivery: Delivery) -> Hold:
        hold = delivery.handle
        if not isinstance(hold, Hold) or hold.owner is not self._holds:
            raise LeaseLost("the job was handed to another connection; use the queue that reserved it")
        if not self._holds.has(hold):
            raise LeaseLost(f"job {hold.label.id} is not held here any more; drop it, it is done or somebody has it")
        return hold

    def _still_held(self, deliveries: Iterable[Delivery]) -> list[Hold]:
        held: list[Hold] = []
        for delivery in deliveries:
            with suppress(LeaseLost):
                held.append(self._mine(delivery))
        return held
