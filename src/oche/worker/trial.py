"""One attempt: a job given to a child, and how it ended. Meanwhile the lease is renewed and the limits are watched."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from oche.worker.crew import End
from oche.worker.frames import CALLED_OFF, Frame
from oche.worker.hand import Hand
from oche.worker.page import IDLE

#: Seconds between two looks at limits and at stop signs while a job runs.
TICK = 0.1
#: Seconds that a call gets beyond its time limit before its process is killed.
HARD = 2.0
#: Seconds from the stop byte to SIGTERM, and from that to SIGKILL.
PATIENCE = 1.0


class How(Enum):
    """How an attempt ended."""

    REPLIED = "replied"
    NOT_BEGUN = "not begun"  # the child was dead before the job reached it
    DIED = "died"
    OVERTIME = "over the hard time limit, killed"
    OVER_MEMORY = "over the memory limit, killed"
    CALLED_OFF = "called off"
    ENDING = "the worker ends"
    INTERRUPTED = "somebody else sent the child a SIGTERM"


class Verdict(NamedTuple):
    """How an attempt ended, and where."""

    how: How
    frame: Frame | None = None  #: the reply
    place: int = IDLE  #: of the call that ran when it ended, or `IDLE` or `LOADING`
    end: End | None = None  #: of the child, if it died


def attend(
    child: Hand,
    renew: Callable[[float], None],
    *,
    timeout: float,
    memory_limit: int | None,
    called_off: Callable[[], float | None],
    closing: threading.Event,
) -> Verdict:
    """Waits for the end of the job that the child was just given.

    `renew(now)` is called every `TICK`; `timeout` is the time limit of a call in seconds (0: none), `memory_limit`
    in bytes; `called_off` tells since when (monotonic) the job is unwanted; `closing` is set when the worker must
    end now.
    """
    page = child.page
    killed: How | None = None
    terminated = False
    place = IDLE
    while not child.wait(TICK):
        now = time.monotonic()
        renew(now)
        off = called_off()
        if closing.is_set():
            killed = How.ENDING
        elif off is not None and now >= off + 2 * PATIENCE:
            killed = How.CALLED_OFF
        elif off is not None and now >= off + PATIENCE and not terminated:
            child.terminate()
            terminated = True
        elif timeout and 0.0 < page.began[0] < now - timeout - HARD:
            killed = How.OVERTIME
        elif memory_limit and child.resident() > memory_limit:
            killed = How.OVER_MEMORY
        if killed is not None:
            place = page.place[0]
            child.kill()
            break
    frame = child.reply
    if terminated:
        child.kill()  # the signal may have come after the job: then it is still to hit
    if frame is not None and killed is not How.ENDING:
        if frame.kind == CALLED_OFF:  # by our stop byte, or by somebody who sent the child a SIGTERM
            return Verdict(How.CALLED_OFF if called_off() is not None else How.INTERRUPTED)
        return Verdict(How.REPLIED, frame)
    if killed is not None:
        return Verdict(killed, None, place, child.end)
    if called_off() is not None:
        return Verdict(How.CALLED_OFF)
    place = page.place[0]
    return Verdict(How.NOT_BEGUN if place == IDLE else How.DIED, None, place, child.end)
