"""The file behind `SQLiteQueue`: opening, schema, transactions, and what SQLite's errors mean."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from oche.errors import ConfigError, Disconnected, QueueError, QueueFull

#: Seconds to wait for other processes' transactions before giving up.
BUSY = 10.0

_VERSION = 1
_SCHEMA = f"""
CREATE TABLE jobs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  tube TEXT NOT NULL,
  priority INTEGER NOT NULL,
  state TEXT NOT NULL,
  due REAL,        -- reserved: end of the lease, monotonic clock. delayed: end of the delay, wall clock
  lease REAL NOT NULL,
  holder INTEGER,  -- a connection
  reserves INTEGER NOT NULL DEFAULT 0,
  releases INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX ready ON jobs (tube, priority, id) WHERE state = 'ready';
CREATE INDEX reserved ON jobs (tube, due, holder) WHERE state = 'reserved';
CREATE INDEX delayed ON jobs (tube, due) WHERE state = 'delayed';
CREATE INDEX buried ON jobs (tube, id) WHERE state = 'buried';
-- apart from the jobs, so that a change of state does not write the body again
CREATE TABLE bodies (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE connections (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  doorbell TEXT NOT NULL,
  waiting REAL,    -- since when, monotonic clock
  handed INTEGER   -- the job given to it while it waited
) STRICT;
CREATE TABLE watching (
  tube TEXT NOT NULL, connection INTEGER NOT NULL, PRIMARY KEY (tube, connection)
) STRICT, WITHOUT ROWID;
CREATE TABLE signals (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
"""


def path_of(url: str) -> Path:
    """The file that `sqlite:///path` names; raises `ConfigError` if it names none."""
    parts = urlsplit(url)
    if not url.startswith("sqlite:///") or len(parts.path) < 2 or parts.query:
        raise ConfigError(f"{url!r} names no file; write sqlite:///relative/path or sqlite:////absolute/path")
    return Path(unquote(parts.path[1:])).expanduser().absolute()


class QueueFile:
    """One SQLite connection to the file. The caller sees to it that one thread at a time is in it."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the file; raises `ConfigError` if it cannot be a queue, `QueueFull` on a full disk."""
        self.path = path
        self._log = -1  # file descriptor of the write-ahead log, once it has to be synced
        self._jitter = random.Random()  # not the program's own generator, which it may have seeded
        if not path.parent.is_dir():
            raise ConfigError(f"there is no directory {path.parent} for the queue's file; create it first")
        try:
            self._db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise ConfigError(f"{path} cannot be opened as a queue: {error}; check the path and its rights") from error
        try:
            self._set_up()
            self._inode = os.stat(path).st_ino
        except BaseException:
            self._db.close()
            raise

    def _set_up(self) -> None:
        try:
            # Nothing may be written, not even to find out, before the version is known to be ours.
            if self._version() not in (0, _VERSION):
                raise ConfigError(
                    f"{self.path} has schema version {self._version()} and this oche knows {_VERSION}; "
                    "use the oche that made it, or name another file"
                )
            self._patiently("PRAGMA journal_mode = WAL")
            self._patiently("PRAGMA synchronous = NORMAL")
            self._patiently(f"PRAGMA journal_size_limit = {64 * 2**20}")
            self._patiently("BEGIN IMMEDIATE")
            if self._version() == 0:  # still: nobody else was faster
                if self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                    raise ConfigError(f"{self.path} is a database of something else; name another file")
                for statement in _SCHEMA.split(";\n"):
                    self._db.execute(statement)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            meaning = self.meaning(error)
            if isinstance(meaning, QueueFull):
                raise meaning from error
            raise ConfigError(f"{self.path} cannot be used as a queue: {error}; name another file") from error

    def _version(self) -> int:
        version: int = self._patiently("PRAGMA user_version").fetchone()[0]
        return version

    def execute(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """One statement inside `transaction` or `reading`."""
        return self._db.execute(sql, values)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """For SELECTs by `execute` outside of a transaction: they see one state of the file."""
        try:
            self._patiently("BEGIN")
            yield
        except sqlite3.Error as error:
            raise self.meaning(error) from error
        finally:
            self.roll_back()

    def version_of_data(self) -> int:
        """Changes whenever another connection has committed; a look at shared memory, not at the file."""
        try:
            version: int = self._patiently("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error as error:
            raise self.meaning(error) from error
        return version

    def settings(self) -> dict[str, str | int]:
        """What is in force, inside `reading`; sizes in bytes."""
        (mode,) = self.execute("PRAGMA journal_mode").fetchone()
        return {
            "version": sqlite3.sqlite_version,
            "path": str(self.path),
            "journal_mode": mode,
            "log_size": os.stat(f"{self.path}-wal").st_size if mode == "wal" else 0,
        }

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits what is done within, or nothing if it raises. It is seen by all then; see `sync` for power cuts."""
        try:
            self._check_there()
            self._patiently("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            self.roll_back()
            if isinstance(error, sqlite3.Error):
                raise self.meaning(error) from error
            raise

    def sync(self) -> None:
        """Once it returns, all that was committed survives a power cut. Others' transactions go on meanwhile.

        It is what SQLite does itself with synchronous = FULL, but there everybody waits for the disk.
        """
        try:
            if self._log < 0:
                # Checkpoints reuse the log; it is not deleted while a connection to the file, like ours, is open.
                self._log = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
            os.fdatasync(self._log) if hasattr(os, "fdatasync") else os.fsync(self._log)
        except OSError as error:
            raise QueueFull(f"{self.path} could not be synced: {error}; see to the disk, then put again") from error

    def roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def close(self) -> None:
        if self._log >= 0:
            os.close(self._log)
            self._log = -1
        self._db.close()

    def _check_there(self) -> None:
        """What is written to a file that was deleted or replaced would be seen by nobody."""
        try:
            there = os.stat(self.path).st_ino == self._inode
        except OSError:
            there = False
        if not there:
            raise Disconnected(f"{self.path} was deleted or replaced; open a new queue")

    def _patiently(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """Executes what may find another process in its transaction: tries again, sleeping a little and at random."""
        end = time.monotonic() + BUSY
        pause = 0.0001
        while True:
            try:
                return self._db.execute(sql, values)
            except sqlite3.OperationalError as error:
                if _code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() > end:
                    raise
            time.sleep(pause * self._jitter.random())
            pause = min(pause * 1.5, 0.005)

    def meaning(self, error: sqlite3.Error) -> QueueError:
        """The error of ours for one of SQLite's."""
        code = _code(error)
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return QueueFull(f"{self.path} could not be written: {error}; nothing was stored; make room on the disk")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return QueueError(f"{self.path} was locked for {BUSY:g} s; see which process holds it, and try again")
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN):
            return Disconnected(f"{self.path} is not a sound queue any more: {error}; name another file")
        return QueueError(f"{self.path}: {error}")


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary error code; 0 if the error is of Python's module itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
