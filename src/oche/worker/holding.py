"""A job that a slot holds, and the puts that must not get lost while it does.

A hold is void when its lease is lost or its connection is gone: from then on its verbs do nothing, since the
broker has given, or will give, the job to somebody else. What the job brought is put all the same.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time

from oche.errors import Closed, Disconnected, LeaseLost, QueueFull
from oche.queues.link import Link
from oche.queues.seam import DEFAULT_LEASE, DEFAULT_PRIORITY, Delivery, Queue

log = logging.getLogger("oche")


class Hold:
    """One delivery, renewed at each third of its lease."""

    __slots__ = ("_began", "_delivery", "_due", "_link", "_queue", "deliveries", "held", "pace")

    def __init__(self, link: Link, delivery: Delivery, lease: float) -> None:
        self._link = link
        self._queue: Queue = link.queue
        self._delivery = delivery
        self._began = time.monotonic()
        self.deliveries: int | None = None  #: how often the job was handed out, where that was asked for already
        self.held = True
        self.lasts(lease)

    def lasts(self, lease: float) -> None:
        """The job says how long its lease is, in seconds; it is renewed at each third of that."""
        self.pace = max(lease, 0.03) / 3.0
        self._due = self._began + self.pace

    @property
    def body(self) -> bytes:
        return self._delivery.body

    def renew(self, now: float) -> None:
        """Renews the lease when it is time; `now` in monotonic seconds."""
        if now < self._due or not self.held:
            return
        self._due = now + self.pace
        try:
            self._queue.touch(self._delivery)
        except LeaseLost:
            self.held = False
            log.warning("the lease of a running job is lost; its outcome will be sent all the same")
        except Disconnected:
            self.held = False
        except QueueFull as error:  # there may be room in time
            log.warning("the lease of a running job could not be renewed: %s", error)

    def attempts(self) -> int:
        """How often the job was handed out. Raises `LeaseLost`, `Disconnected`."""
        return self._queue.attempts(self._delivery) if self.deliveries is None else self.deliveries

    def finish(self) -> Delivery | None:
        """The job is done, and its delivery to be deleted with the next reserve; None if it is not ours any more."""
        held, self.held = self.held and self._link.queue is self._queue, False
        return self._delivery if held else None

    def delete(self) -> None:
        """The job is done."""
        if self.held and self._link.queue is self._queue:
            self.held = False
            # Lost, it is somebody else's by now; a broken connection shows at the next reserve; and on a full disk
            # its lease will run out, so that it is done twice.
            with contextlib.suppress(LeaseLost, Disconnected, QueueFull):
                self._queue.delete(self._delivery)

    def release(self, *, delay: float = 0.0) -> None:
        """The job was not begun, or not finished for no fault of its own: the attempt does not count."""
        if self.held and self._link.queue is self._queue:
            self.held = False
            with contextlib.suppress(LeaseLost, Disconnected, Closed, QueueFull):
                self._queue.release(self._delivery, delay=delay)

    def bury(self, body: bytes | None = None) -> None:
        """The job is set aside. Raises `TooLarge` if the body with its reason is."""
        if self.held and self._link.queue is self._queue:
            with contextlib.suppress(LeaseLost, Disconnected, QueueFull):
                self._queue.bury(self._delivery, body)
            self.held = False


class Mail:
    """Puts over one link, for as long as it takes: through a lost connection and a full broker.

    Raises `Closed` when the worker ends meanwhile, and `TooLarge`, which no waiting can cure.
    """

    def __init__(self, link: Link, closing: threading.Event) -> None:
        self._link = link
        self._closing = closing

    def put(
        self,
        hold: Hold,
        tube: str,
        bodies: list[bytes],
        *,
        priority: int | None = None,
        delay: float = 0.0,
        lease: float = DEFAULT_LEASE,
    ) -> None:
        """Puts them in order, while it keeps the hold alive. Some may be stored twice after a lost connection."""
        rank = DEFAULT_PRIORITY if priority is None else priority
        pause = 0.1
        while True:
            try:
                if len(bodies) == 1:
                    self._link.queue.put(tube, bodies[0], priority=rank, delay=delay, lease=lease)
                else:
                    self._link.queue.put_many(tube, bodies, priority=rank, delay=delay, lease=lease)
                return
            except Disconnected as error:
                self._link.reopen(error)
            except QueueFull as error:
                if pause == 0.1:
                    log.warning("the broker has no room for %s (%s); trying again", tube, error)
                if self._closing.wait(min(pause, hold.pace)):
                    raise Closed(f"the worker ended before the broker had room for {tube}") from error
                hold.renew(time.monotonic())
                pause = min(pause * 2.0, 5.0)
