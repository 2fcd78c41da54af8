"""A flag in an anonymous map: nothing is quicker, and only forked processes have it."""

from __future__ import annotations

import mmap
from typing import NoReturn

from oche.errors import Unsendable
from oche.sharing.flag import ByteFlag, Reach


class MmapFlag(ByteFlag):
    """One byte of anonymous shared memory, inherited by fork."""

    reach = Reach.FORK

    def __init__(self) -> None:
        self._map = self.byte = mmap.mmap(-1, 1)

    def close(self) -> None:
        self._map.close()

    def __reduce__(self) -> NoReturn:
        raise Unsendable("an MmapFlag has no name and is only inherited by fork; take a MemoryFlag to send one")
