"""A flag by `multiprocessing.Manager`: the value lives in a process of its own, and each look asks that one."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from multiprocessing.managers import SyncManager, ValueProxy

from oche.errors import ValueLost
from oche.sharing.flag import Flag, Reach


class ManagerFlag(Flag):
    """A manager's value. The manager ends with its maker, also when that is killed."""

    reach = Reach.FAMILY

    def __init__(self) -> None:
        self._maker = os.getpid()
        # An address in the abstract namespace leaves no socket in the temporary folder after kill -9.
        address = f"\0oche-flag-{secrets.token_hex(8)}"
        self._manager: SyncManager | None = SyncManager(address, ctx=multiprocessing.get_context("spawn"))
        self._manager.start(_end_with_parent)
        self._value: ValueProxy[int] = self._manager.Value("b", 0)

    def set(self) -> None:
        with _asking():
            self._value.value = 1

    def clear(self) -> None:
        with _asking():
            self._value.value = 0

    def is_set(self) -> bool:
        with _asking():
            return bool(self._value.value)

    def close(self) -> None:
        manager, self._manager = self._manager, None
        if manager is not None and self._maker == os.getpid():
            manager.shutdown()

    def __reduce__(self) -> tuple[Callable[..., ManagerFlag], tuple[ValueProxy[int]]]:
        return _attached, (self._value,)


def _attached(value: ValueProxy[int]) -> ManagerFlag:
    flag = ManagerFlag.__new__(ManagerFlag)
    flag._maker, flag._manager, flag._value = -1, None, value
    return flag


@contextlib.contextmanager
def _asking() -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError) as error:
        raise ValueLost("the process that kept this flag has ended: its maker closed it or ended") from error


def _end_with_parent() -> None:
    """In the manager's process, which would outlive a killed parent for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(0)

    threading.Thread(target=wait, name="oche-parent", daemon=True).start()
