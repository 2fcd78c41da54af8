"""A queue that is opened again when its connection breaks: for ever, with backoff and jitter, saying so once."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from oche.errors import Closed, Disconnected, QueueFull
from oche.queues.seam import Queue

T = TypeVar("T")

log = logging.getLogger("oche")

#: Seconds before the first new try, and at most between two.
FIRST, LONGEST = 0.05, 5.0


class Link:
    """Owns one connection. `closing` ends every wait: whoever waits then gets `Closed`.

    Used by one thread at a time, like the queue itself; only `close` may come from another.
    """

    def __init__(self, queue: Queue, what: str, *, closing: threading.Event) -> None:
        self.queue = queue
        self.patience = math.inf  #: seconds to try for, once the connection is lost
        self._what = what
        self._closing = closing

    def call(self, verb: Callable[[Queue], T]) -> T:
        """Runs `verb` on the open queue, again after a reconnection if the connection broke in it.

        So the verb may be carried out twice: put what may be there twice.
        """
        while True:
            try:
                return verb(self.queue)
            except Disconnected as error:
                self.reopen(error)
            except BaseException as error:
                if self._closing.is_set() and not isinstance(error, Closed):
                    raise Closed(f"{self._what} was closed") from error
                raise

    def reopen(self, error: BaseException) -> None:
        """Opens a new connection in place of the broken one.

        Raises `Closed` when we are told to close instead, and `Disconnected` when `patience` is over.
        """
        log.warning("%s lost its broker (%s); trying again until it is back", self._what, error)
        self.queue.close()
        pause, began = FIRST, time.monotonic()
        jitter = random.Random()  # the program's own generator, which it may have seeded, is left alone
        while not self._closing.wait(pause * jitter.uniform(0.5, 1.0)):
            try:
                self.queue = self.queue.clone()
            except (Disconnected, QueueFull):  # there is no broker yet, or no room in it
                pause = min(pause * 2, LONGEST)
                if time.monotonic() - began > self.patience:
                    raise
                continue
            if self._closing.is_set():  # `close` may have come before there was this one to close
                self.queue.close()
                break
            log.warning("%s has its broker back", self._what)
            return
        raise Closed(f"{self._what} was closed while its broker was away") from error

    def close(self) -> None:
        """Ends the connection; may come from any thread. Set `closing` first."""
        self.queue.close()
