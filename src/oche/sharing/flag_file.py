"""A flag in a file: slow, and readable by anybody with `cat`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from oche.errors import ConfigError, ValueLost
from oche.sharing.flag import Flag, Reach


class FileFlag(Flag):
    """A file that holds 0 or 1.

    Its maker's `close` removes it. After kill -9 it stays, and who makes the flag next clears it.
    """

    reach = Reach.MACHINE

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Makes the file, or clears the one that is there. Raises `ConfigError` where that cannot be."""
        self.path = Path(path).absolute()
        self._maker = os.getpid()
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"no flag can be kept in {self.path}: {error.strerror}; choose another path") from error
        os.ftruncate(self._fd, 1)
        self.clear()

    def set(self) -> None:
        os.pwrite(self._fd, b"1", 0)

    def clear(self) -> None:
        os.pwrite(self._fd, b"0", 0)

    def is_set(self) -> bool:
        return os.pread(self._fd, 1, 0) == b"1"

    def close(self) -> None:
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        if self._maker == os.getpid():
            self.path.unlink(missing_ok=True)

    def __reduce__(self) -> tuple[Callable[..., FileFlag], tuple[Path]]:
        return _attached, (self.path,)


def _attached(path: Path) -> FileFlag:
    flag = FileFlag.__new__(FileFlag)
    flag.path = path
    flag._maker = -1
    try:
        flag._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError as error:
        flag._fd = -1
        raise ValueLost(f"{path} is gone: the flag's maker closed it") from error
    return flag
