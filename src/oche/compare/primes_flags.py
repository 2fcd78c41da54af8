"""The flags of the plain Python variants, each of its kind, for as long as a comparison takes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from oche.errors import ConfigError
from oche.servers.redis import Redis
from oche.sharing.flag import Flag
from oche.sharing.flag_file import FileFlag
from oche.sharing.flag_manager import ManagerFlag
from oche.sharing.flag_memory import MemoryFlag
from oche.sharing.flag_mmap import MmapFlag
from oche.sharing.flag_raw_value import RawValueFlag
from oche.sharing.flag_redis import RedisFlag
from oche.sharing.flag_shared_memory import SharedMemoryFlag

KINDS: dict[str, Callable[[], Flag]] = {
    "raw-value": RawValueFlag,
    "mmap": MmapFlag,
    "shared-memory": SharedMemoryFlag,
    "memory": MemoryFlag,
    "manager": ManagerFlag,
}


@contextmanager
def open_flags(kinds: Sequence[str]) -> Iterator[tuple[dict[str, Flag], dict[str, str]]]:
    """Flags of these kinds; and, for those that this machine cannot have, why."""
    flags: dict[str, Flag] = {}
    lacking: dict[str, str] = {}
    with ExitStack() as stack:
        for kind in kinds:
            if kind == "redis":
                try:
                    server = Redis()
                    server.ends_with_us = True
                    flags[kind] = stack.enter_context(RedisFlag(stack.enter_context(server).url))
                except ConfigError as error:  # no server, or no redis-py
                    lacking[kind] = str(error)
            elif kind == "file":
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="oche-flag-"))
                flags[kind] = stack.enter_context(FileFlag(os.path.join(folder, "flag")))
            else:
                flags[kind] = stack.enter_context(KINDS[kind]())
        yield flags, lacking
