"""A broken connection, and the one that takes its place."""

from __future__ import annotations

import logging
import math
import random
import threading
import time

from oche.errors import Closed, Disconnected, QueueFull
from oche.streams.seam import Topics

log = logging.getLogger("oche")

#: Seconds before the first try, and at most between two.
FIRST, LONGEST = 0.05, 5.0


def reopen(
    broken: Topics, subscription: tuple[str, str] | None, error: Disconnected, *, closing: threading.Event,
    patience: float = math.inf,
) -> Topics:  # fmt: skip
    """Tries for `patience` seconds to open a connection like the broken one, with its subscription (topic, channel).

    Raises `Disconnected` after that, and `Closed` once `closing` is set.
    """
    log.warning("the broker is lost (%s); trying again until it is back", error)
    broken.close()
    pause, began = FIRST, time.monotonic()
    jitter = random.Random()  # the program's own generator, which it may have seeded, is left alone
    while not closing.wait(pause * jitter.uniform(0.5, 1.0)):
        try:
            topics = broken.clone()
            try:
                if subscription is not None:
                    topics.subscribe(*subscription)
            except BaseException:
                topics.close()
                raise
        except (Disconnected, QueueFull):  # there is no broker yet, or no room in it
            pause = min(pause * 2.0, LONGEST)
            if time.monotonic() - began > patience:
                raise
            continue
        log.warning("the broker is back")
        return topics
    raise Closed("closed while the broker was away") from error
