"""Values as files of a folder that all who need them see: a shared one, or a temporary one of this machine.

    FOLDER/oche-NODE-BOOT-TOKEN/    what one store object owns; made with its first value
        owner                       locked (flock) as long as the owner lives
        0, 1, 2 ...                 the values; a name is told when the file is whole

`close` removes all of it. After kill -9 the lock is free: the next store that is opened in the folder, on the machine
of the dead owner, removes what is left. Leftovers of other machines are theirs to remove: there a free lock may mean
no more than that the file system keeps locks to each machine (sshfs, NFS with `nolock`). Where locks are not to be had
at all, what a killed process left stays until somebody deletes its folder.

Over NFS a value that is deleted on one machine can no longer be read by who has it mapped on another.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import mmap
import os
import re
import stat
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Self
from urllib.parse import quote, unquote_to_bytes

from oche.errors import ConfigError, StoreError, StoreFull, ValueLost
from oche.stores.given import Given
from oche.stores.mapping import flat, in_children, map_all, write_pieces
from oche.stores.seam import Buffer, Store, Traits

URL = "files:"

_OWNER = "owner"
_HOME = re.compile(r"oche-(?P<node>\w{1,64})-(?P<boot>[0-9a-f]{0,8})-[0-9a-f]{16}", re.ASCII)
#: A home, and a file in it. Nothing that matches leads out of the folder.
_NAME = re.compile(rf"({_HOME.pattern})\.(?P<file>\d{{1,19}})", re.ASCII)
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_RIGHT = {errno.EACCES, errno.EPERM, errno.EROFS}
_GONE = {errno.ENOENT, errno.ESTALE}


class FileStore(Store):
    """The values of this object, and the way to those of others in the same folder."""

    traits = Traits(here_only=False, mapped=True, pieces=True, keeps=True)

    def __init__(self, folder: str) -> None:
        """Opens a store in a folder that exists. Raises `ConfigError` if it does not."""
        if not os.path.isdir(folder):
            raise ConfigError(
                f"there is no folder {folder} on {os.uname().nodename}; create it, or mount it on every machine"
            )
        self.url = f"files://{quote(os.fsencode(folder))}"
        self._folder = folder
        self._home: _Home | None = None
        self._given = Given()
        self._lock = threading.Lock()
        in_children(self._forget)
        _sweep(folder)

    @classmethod
    def open(cls, url: str) -> Self:
        """`files:///folder`, or `files:` for a folder of this user's under the system's temporary directory."""
        if url == URL:
            return cls(_temporary())
        folder = os.fsdecode(unquote_to_bytes(url.removeprefix("files://")))
        if not url.startswith("files:///") or set(url) & set("?#") or "\0" in folder:
            raise ConfigError(f"{url!r} names no folder; say 'files:///folder', or 'files:' for a temporary one")
        return cls(folder)

    def put(self, data: Buffer) -> str:
        whole = flat(data)
        return self._make(whole.nbytes, whole)

    def create(self, size: int) -> str:
        return self._make(size, b"")

    def _make(self, size: int, data: Buffer) -> str:
        with self._told(f"keep a value of {size:,} bytes"):
            disk = os.statvfs(self._folder)
            room = disk.f_bavail * disk.f_frsize
            if disk.f_blocks and size > room:  # some file systems do not tell how large they are
                raise StoreFull(
                    f"a value of {size:,} bytes does not fit the {room:,} that are free in {self._folder}; "
                    "make room there, or name another folder"
                )
            with self._lock:
                if self._home is None:
                    self._home = _Home(self._folder)
                home = self._home
            number = next(home.numbers)
            path = os.path.join(home.path, str(number))
            try:
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                try:
                    os.ftruncate(fd, size)
                    write_pieces(fd, path, [(0, data)])
                finally:
                    os.close(fd)  # that may fail, too: over a network it is here that writing ends
            except BaseException:
                with suppress(OSError):
                    os.unlink(path)
                raise
        return f"{os.path.basename(home.path)}.{number}"

    def write(self, name: str, start: int, data: Buffer) -> None:
        self.write_many(name, [(start, data)])

    def write_many(self, name: str, pieces: Iterable[tuple[int, Buffer]]) -> None:
        with self._told(f"write to the value {name[:100]!r}"):
            # Write-only: over a network, pages of who may read are fetched and written back whole, over what another
            # machine wrote beside.
            fd = self._open(name, os.O_WRONLY)
            try:
                write_pieces(fd, name, pieces)
            finally:
                os.close(fd)

    def get(self, name: str) -> memoryview:
        return self._map(name, mmap.ACCESS_READ)

    def take(self, name: str) -> memoryview:
        """A private mapping: pages that the caller writes to become copies, all others stay the file's."""
        return self._map(name, mmap.ACCESS_COPY)

    def _map(self, name: str, access: int) -> memoryview:
        with self._told(f"read the value {name[:100]!r}"):
            fd = self._open(name, os.O_RDONLY)
            try:
                return map_all(fd, access)
            finally:
                os.close(fd)

    def give(self, data: Buffer) -> str:
        return self._given.give(self, data, lambda name: not os.path.exists(self._path(name)))

    def accept(self, name: str) -> memoryview:
        whole = self.get(name)
        with self._told(f"end the value {name[:100]!r}"):
            try:
                os.unlink(self._path(name))
            except FileNotFoundError:
                raise self._lost(name) from None
        return whole

    def delete(self, name: str) -> None:
        match, home = _NAME.fullmatch(name), self._home
        if match is None or home is None or match[1] != os.path.basename(home.path):
            return
        with self._told(f"delete the value {name}"), suppress(FileNotFoundError):
            os.unlink(os.path.join(home.path, match["file"]))

    def close(self) -> None:
        with self._lock:
            home, self._home = self._home, None
        if home is not None:
            home.close()

    def _forget(self) -> None:
        """In a forked child: they are the parent's."""
        self._lock = threading.Lock()  # that another thread of the parent may have held
        self._given = Given()
        if self._home is not None:
            os.close(self._home.lock)
            self._home = None

    def _open(self, name: str, flags: int) -> int:
        path = self._path(name)
        try:
            return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            raise self._lost(name) from error

    def _path(self, name: str) -> str:
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueLost(f"{name[:100]!r} is not the name of a value in a folder")
        return os.path.join(self._folder, match[1], match["file"])

    def _lost(self, name: str) -> ValueLost:
        return ValueLost(
            f"the value {name} is not in {self._folder} of {os.uname().nodename}: its owner ended or deleted it, "
            "or this is not the folder that the owner sees"
        )

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """What the system says, in our words."""
        try:
            yield
        except OSError as error:
            said = f"cannot {what} in {self._folder}: {error.strerror}"
            if error.errno in _NO_ROOM:
                raise StoreFull(f"{said}; make room there, or name another folder") from error
            if error.errno in _NO_RIGHT:
                raise StoreError(
                    f"{said}; give user {os.geteuid()} rights there, or run all workers as one user"
                ) from error
            raise StoreError(f"{said}; look at the folder and its disk") from error


class _Home:
    """The folder of one owner, and the lock that says that it lives."""

    def __init__(self, folder: str) -> None:
        node, boot = _machine()
        self.numbers = itertools.count()
        while True:
            self.path = os.path.join(folder, f"oche-{node}-{boot}-{os.urandom(8).hex()}")
            os.mkdir(self.path, 0o700)
            # Until it is locked, who sweeps may take it away: then it is begun again.
            owner = os.path.join(self.path, _OWNER)
            with suppress(FileNotFoundError):
                self.lock = os.open(owner, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                if _locked(self.lock) and os.path.exists(owner):
                    return
                os.close(self.lock)

    def close(self) -> None:
        with suppress(OSError):
            _remove(self.path)
        os.close(self.lock)


def _locked(fd: int) -> bool:
    """Takes the lock; false if somebody has it. Where there are no locks, nobody takes a home away either."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _remove(home: str) -> None:
    """The values first: a home without an owner's file is empty, or nearly gone."""
    with os.scandir(home) as entries:
        for entry in entries:
            if entry.name != _OWNER:
                os.unlink(entry.path)
    os.unlink(os.path.join(home, _OWNER))
    os.rmdir(home)


def _sweep(folder: str) -> None:
    """Removes what dead owners of this machine left."""
    node, boot = _machine()
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _HOME.fullmatch(entry.name)
            if match is None or not entry.is_dir(follow_symlinks=False):
                continue
            # By name, for after a restart; by the kernel's life, for containers, whose names change.
            if match["node"] == node or (boot and match["boot"] == boot):
                _sweep_home(entry.path)


def _sweep_home(home: str) -> None:
    with suppress(OSError):  # somebody else is at it, or it is not ours to remove
        try:
            fd = os.open(os.path.join(home, _OWNER), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            os.rmdir(home)  # only if it is empty
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(home)
        finally:
            os.close(fd)


def _machine() -> tuple[str, str]:
    """This machine's name, and what tells this life of its kernel from others; empty where the system does not say."""
    node = re.sub(r"\W", "_", os.uname().nodename, flags=re.ASCII)[:64] or "_"
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return node, file.read(8)
    except OSError:
        return node, ""


def _temporary() -> str:
    """The folder of this user's for values; nobody else may have been there first."""
    folder = os.path.join(tempfile.gettempdir(), f"oche-values-{os.geteuid()}")
    with suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise StoreError(
            f"{folder} is not a folder that only user {os.geteuid()} may enter; remove it, or name another"
        )
    return folder
