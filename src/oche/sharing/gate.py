"""A gate for those who write into shared memory: when it is shut, nobody writes there any more.

@task(retries=20)
def work(shared, gate):                # a cluster may run it twice, and one of the two late
    with gate.inside() as allowed:
        if allowed:
            shared.array[...] = 1

gate.shut()                            # waits for those inside; who was killed in there is not waited for
"""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from typing import Self

from oche.errors import LockHeld
from oche.sharing.memory import Memory, try_lock

#: Seconds to wait for those inside.
PATIENCE = 60.0
#: Seconds between two looks.
PAUSE = 0.001


class Gate:
    """Open at first, shut once and for all. Pickled it is the same gate.

    Who is inside holds a shared lock on the gate's memory, which the kernel takes back from the dead; to shut it
    is to say so and then to hold that lock alone for a moment.
    """

    def __init__(self, memory: Memory | None = None) -> None:
        """A new gate; `memory` is for copies in other processes."""
        self._memory = Memory.create(1) if memory is None else memory
        self._closed = self._memory.map()

    @contextlib.contextmanager
    def inside(self) -> Iterator[bool]:
        """In the block the gate cannot be shut; yields False, and holds up nobody, if it was already."""
        own = self._memory.reopen()
        try:
            while not (entered := try_lock(own, fcntl.LOCK_SH)) and not self._closed[0]:
                time.sleep(PAUSE)
            yield entered and not self._closed[0]
        finally:
            own.close()

    def shut(self, timeout: float = PATIENCE) -> None:
        """Returns when nobody is inside, nor ever will be. Raises `LockHeld` if somebody stays too long."""
        self._closed[0] = 1
        own = self._memory.reopen()
        try:
            end = time.monotonic() + timeout
            while not try_lock(own, fcntl.LOCK_EX):
                if time.monotonic() > end:
                    raise LockHeld(
                        f"somebody still writes after {timeout:g} s; a stopped process (kill -STOP) may be it: end it"
                    )
                time.sleep(PAUSE)
        finally:
            own.close()

    def close(self) -> None:
        """Not to be used here any more; late copies cannot attach to it then. May be called twice."""
        self._closed.close()
        self._memory.close()

    def __reduce__(self) -> tuple[type[Gate], tuple[Memory]]:
        return type(self), (self._memory,)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
