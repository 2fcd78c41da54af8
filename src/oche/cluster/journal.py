"""What a named run has submitted and finished, on the client's disk, so that it can be resumed.

One SQLite file a run. A row is a piece: one submitted call, a chunk of a map, a piece of a span. The order of
writes is what makes it safe:

    row (job, no value) committed  ->  job put  ->  outcome arrives  ->  value committed  ->  outcome deleted

Killed anywhere, the client finds at its next start either no row (the job was never put), a row without a
value (its outcome waits in the reply tube, or the job is under way, or lost: it will be put again), or the value.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from oche.cluster.ticket import Row
from oche.errors import ConfigError, JournalError
from oche.wire.names import check_name

_SCHEMA = """
CREATE TABLE run (
  name TEXT NOT NULL, url TEXT NOT NULL, made REAL NOT NULL, argv TEXT NOT NULL, cwd TEXT NOT NULL,
  life TEXT NOT NULL         -- of the broker that has what is under way; see `Queue.life`
) STRICT;
CREATE TABLE job (id TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE piece (
  op BLOB NOT NULL, lo INTEGER NOT NULL, hi INTEGER NOT NULL, digest BLOB NOT NULL,
  job TEXT NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL,
  value BLOB,                -- JSON array of `count` values; NULL while there is none
  PRIMARY KEY (op, lo)
) STRICT, WITHOUT ROWID;
CREATE INDEX piece_job ON piece (job);
PRAGMA user_version = 1;
"""


@dataclass(frozen=True, slots=True)
class Known:
    """A row found in the journal: finished if it has a value, else under way as part of job `job`."""

    row: Row
    job: str
    value: bytes | None


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run as `oche runs list` shows it."""

    name: str
    url: str
    made: float  #: seconds since the epoch
    pieces: int
    finished: int
    in_use: bool
    argv: list[str]  #: the program that made it, as it was started
    cwd: str


class Journal:
    """The journal of one named run; held by one process at a time. Used by one thread at a time."""

    def __init__(self, name: str, url: str, *, folder: Path | None = None) -> None:
        self.name = check_name(name, "run name")
        if name.startswith("_"):
            raise ConfigError(f"run name {name!r} begins with an underscore, which is kept for unnamed runs")
        path = _path(name, folder)
        with self._guard():
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock: IO[bytes] = (path / "lock").open("ab")
        try:
            if not _locked(self._lock):
                raise JournalError(f"run {name!r} is in use by another process; wait for it, or take another name")
            with self._guard():
                self._db = sqlite3.connect(path / "journal.db", isolation_level=None, check_same_thread=False)
            try:
                self._set_up(name, url)
            except BaseException:
                self._db.close()
                raise
        except BaseException:
            self._lock.close()
            raise

    def _set_up(self, name: str, url: str) -> None:
        with self._guard():
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            if self._db.execute("PRAGMA user_version").fetchone()[0] == 0:
                for statement in _SCHEMA.split(";\n"):
                    self._db.execute(statement)
                values = (name, url, time.time(), json.dumps(sys.orig_argv), os.getcwd(), "")
                self._db.execute("INSERT INTO run VALUES (?, ?, ?, ?, ?, ?)", values)

    def life(self) -> str:
        """The life of the broker that has, or had, what is under way."""
        with self._guard():
            life: str = self._db.execute("SELECT life FROM run").fetchone()[0]
            return life

    def moved(self, life: str) -> None:
        """What is under way is in the hands of a broker of this life now."""
        with self._transaction():
            self._db.execute("UPDATE run SET life = ?", (life,))

    def begin(self, jobs: Iterable[tuple[str, bytes, list[Row]]]) -> None:
        """Writes down jobs that are about to be put: (id, sealed body, rows). Durable when it returns."""
        with self._transaction():
            for id_, body, rows in jobs:
                self._db.execute("INSERT INTO job VALUES (?, ?)", (id_, body))
                self._db.executemany(
                    "INSERT OR REPLACE INTO piece VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                    [(row.op, row.lo, row.hi, row.digest, id_, row.first, row.count) for row in rows],
                )

    def finish(self, values: Iterable[tuple[str, Row, bytes]], ended: Iterable[str]) -> None:
        """Writes down values of pieces, (job, row, JSON array of the row's count), and which jobs have ended.

        Pieces of an ended job that got no value, because they failed or were cancelled, are forgotten: they
        run again when the run is resumed. Durable when it returns.
        """
        with self._transaction():
            self._db.executemany(
                "UPDATE piece SET value = ? WHERE op = ? AND lo = ? AND job = ?",
                [(value, row.op, row.lo, job) for job, row, value in values],
            )
            for id_ in ended:
                self._db.execute("DELETE FROM piece WHERE job = ? AND value IS NULL", (id_,))
                self._db.execute("DELETE FROM job WHERE id = ?", (id_,))

    def known(self, op: bytes) -> list[Known]:
        """Rows of one operation, by `lo`."""
        with self._guard():
            found = self._db.execute(
                "SELECT op, lo, hi, digest, first, count, job, value FROM piece WHERE op = ? ORDER BY lo", (op,)
            )
            return [Known(Row(*row[:6]), row[6], row[7]) for row in found]

    def under_way(self) -> list[tuple[str, bytes, list[Row]]]:
        """Jobs with a piece that has no value yet: (id, sealed body, rows without value)."""
        with self._guard():
            jobs = self._db.execute(
                "SELECT id, body FROM job WHERE id IN (SELECT job FROM piece WHERE value IS NULL)"
            ).fetchall()
            sql = "SELECT op, lo, hi, digest, first, count FROM piece WHERE job = ? AND value IS NULL"
            return [(id_, body, [Row(*row) for row in self._db.execute(sql, (id_,))]) for id_, body in jobs]

    def close(self) -> None:
        """Lets the run go. May be called twice."""
        self._db.close()
        self._lock.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._guard():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise JournalError(
                f"the journal of run {self.name!r} cannot be read or written: {error}; what it holds is sound: "
                f"mend the cause (disk full? rights?) and start the same program again"
            ) from error


def runs(folder: Path | None = None) -> list[RunSummary]:
    """All named runs of this user, newest first."""
    found = [_summary(path) for path in sorted((folder or runs_folder()).glob("*/journal.db"))]
    return sorted((run for run in found if run is not None), key=lambda run: -run.made)


def forget(name: str, *, folder: Path | None = None) -> bool:
    """Deletes the journal of a run; False if there is none. Raises `JournalError` while a process uses it."""
    path = _path(check_name(name, "run name"), folder)
    if not path.exists():
        return False
    with (path / "lock").open("ab") as lock:
        if not _locked(lock):
            raise JournalError(f"run {name!r} is in use by a process; stop that first")
        shutil.rmtree(path)
    return True


def _summary(path: Path) -> RunSummary | None:
    """None for a journal whose maker died before it had written anything down."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            return None
        name, url, made, argv, cwd = db.execute("SELECT name, url, made, argv, cwd FROM run").fetchone()
        pieces, finished = db.execute("SELECT count(*), count(value) FROM piece").fetchone()
    finally:
        db.close()
    with (path.parent / "lock").open("ab") as lock:
        in_use = not _locked(lock)
    return RunSummary(name, url, made, pieces, finished, in_use, json.loads(argv), cwd)


def _locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def runs_folder() -> Path:
    """Where this user's journals are, or would be: `OCHE_STATE_DIR`, or the user's state directory."""
    import platformdirs

    return Path(os.environ.get("OCHE_STATE_DIR") or platformdirs.user_state_dir("oche")) / "runs"


def _path(name: str, folder: Path | None) -> Path:
    return (folder or runs_folder()) / name.replace("/", "%")
