"""What calls ask for and broker or workers cannot do: refused, or said once where the answers are right anyway."""

from __future__ import annotations

import logging

from oche.errors import Unsupported
from oche.queues.seam import Traits
from oche.wire.options import TaskOptions

log = logging.getLogger("oche")


class Lacking:
    """Holds what is asked for against the traits of one broker."""

    def __init__(self, traits: Traits, *, timeless: str = "") -> None:
        """`timeless`: why these workers keep no time limit, and what to do; empty where they do."""
        self._traits, self._timeless = traits, timeless
        self._said: set[str] = set()

    def check(self, task: str, options: TaskOptions) -> None:
        """Raises `Unsupported` for a delay or time limit that nobody would keep; priorities only order what waits."""
        if options.delay and not self._traits.delay:
            raise Unsupported(
                f"{task} has delay={options.delay:g}, and this broker cannot hold a job back; take one that can "
                "(docs/engines.md has them), or submit the call when it is time"
            )
        if options.timeout is not None and self._timeless:
            raise Unsupported(f"{task} has timeout={options.timeout:g}, and {self._timeless}")
        if options.priority is not None and not self._traits.priority:
            self._say(
                f"{task} has priority={options.priority}, and this broker knows few levels or none: calls may be run "
                "in another order"
            )

    def stop(self) -> bool:
        """Whether running calls can be told to stop; else they run to their end, and their answers are dropped."""
        if not self._traits.signal:
            self._say("on this broker calls that run cannot be stopped; their answers will be dropped")
        return self._traits.signal

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            log.warning("%s", text)
