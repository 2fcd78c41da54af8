"""A node: the slots of all stages of a file, from start to drain."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from oche.streams import calling
from oche.streams.ids import Lately
from oche.streams.seam import Topics
from oche.streams.slot import IDLE, Slot, Unfit
from oche.streams.stage import Stage
from oche.wire.pickles import pickled
from oche.worker.crew import child_environment
from oche.worker.frames import Setup
from oche.worker.options import worker_name

log = logging.getLogger("oche")

#: Seconds that a drain gives to the messages that are being handled.
GRACE = 10.0


class Node:
    """Runs stages until it is drained or stopped; left as a context manager, it is drained. The topics stay open.

    `until_idle`: it drains itself when for so many seconds no slot has had a message.
    """

    def __init__(
        self, topics: Topics, target: str, stages: Sequence[Stage], *, slots: int, prefix: str = "",
        until_idle: float | None = None,
    ) -> None:  # fmt: skip
        self.name = worker_name(slots * len(stages))  #: host.pid.slots
        self.failed: str | None = None  #: why no child can start
        self._topics = topics
        self._target = str(Path(target).resolve()) if Path(target).is_file() else target
        self._stages = stages
        self._count = slots
        self._prefix = prefix
        self._until_idle = until_idle
        self._last = time.monotonic()
        self._slots: list[Slot] = []
        self._threads: list[threading.Thread] = []
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Opens a connection and starts a child for each slot. Raises `Disconnected` if the broker is away."""
        environment = child_environment(self._count * len(self._stages))
        patience = IDLE if self._until_idle is None else min(IDLE, self._until_idle / 2.0)
        initializer = pickled((calling.load, (self._target,)))
        host, pid, slots = self.name.rsplit(".", 2)
        try:
            for stage in self._stages:
                lately = Lately()
                for _ in range(self._count):
                    setup = Setup(
                        worker=f"{host}:{pid}/{len(self._slots)}",
                        slots=int(slots),
                        path=tuple(sys.path),
                        initializer=initializer,
                    )
                    slot = Slot(
                        stage, self._target, self._topics.clone(), prefix=self._prefix, setup=setup,
                        environment=environment, lately=lately, on_turn=self._on_turn, patience=patience,
                    )  # fmt: skip
                    self._slots.append(slot)
        except BaseException:
            for slot in self._slots:
                slot.close()
            raise
        self._last = time.monotonic()
        for number, slot in enumerate(self._slots):
            thread = threading.Thread(target=self._serve, args=(slot,), name=f"oche-stage-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()
        log.info("%s runs %s", self.name, ", ".join(stage.name for stage in self._stages))

    def drain(self) -> None:
        """Takes no more messages; what is still handled after 10 s is given back. Returns at once."""
        for slot in self._slots:
            slot.leave(now=False)
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(GRACE, self.stop)
                self._timer.daemon = True
                self._timer.start()

    def stop(self) -> None:
        """Gives back what is being handled, now. Returns at once; `join` waits for the end."""
        for slot in self._slots:
            slot.leave(now=True)

    def join(self, timeout: float | None = None) -> bool:
        """Waits up to `timeout` seconds for the end of a drain or stop; True if it has come."""
        until = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:
            thread.join(None if until is None else max(0.0, until - time.monotonic()))
            if thread.is_alive():
                return False
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
        return True

    @property
    def busy(self) -> int:
        """Messages that are being handled at this moment."""
        return sum(slot.running for slot in self._slots)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.drain()
        self.join()

    def _serve(self, slot: Slot) -> None:
        try:
            slot.run()
        except Exception as error:
            text = str(error) if isinstance(error, Unfit) else f"a slot broke: {type(error).__name__}: {error}"
            log.error("%s cannot go on: %s", self.name, text, exc_info=not isinstance(error, Unfit))
            self.failed = self.failed or text
            self.stop()

    def _on_turn(self, received: bool) -> None:
        if received:
            self._last = time.monotonic()
        elif self._until_idle is not None and not self.busy and time.monotonic() - self._last >= self._until_idle:
            self.drain()
