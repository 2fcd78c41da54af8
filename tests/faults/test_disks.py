"""Disks that are full and journals as a crash leaves them: errors by name, nothing lost, nothing made up."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import mischief
import pytest

import errands
import oche
from farms import HERE, Farm, until
from oche.cluster.journal import runs
from oche.errors import JournalError, QueueError, QueueFull

#: Seconds in which a program must end, well or badly.
BOUND = 60.0

#: A named run; says on its last line how it ended.
PROGRAM = """
import functools, json, operator, sys
import errands, oche
from oche.errors import OcheError
url, out = sys.argv[1:]
options = {"max_workers": 2} if url == "local:" else {}
try:
    with oche.connect(url, run="night", **options) as cluster:
        submitted = [cluster.submit(errands.slow_square, i, 0.01) for i in range(100)]
        mapped = list(cluster.map(functools.partial(errands.slow_square, seconds=0.002), range(300), chunksize=2))
        total = cluster.reduce(errands.slow_span_sum, range(1000), operator.add)
        answer = [[f.result() for f in submitted], mapped, total]
except OcheError as error:
    sys.exit(f"{type(error).__name__}: {error}")
with open(out, "w") as file:
    json.dump(answer, file)
"""
ANSWER = [[i * i for i in range(100)], [i * i for i in range(300)], sum(range(1000))]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where journals are, in this process and in those it starts."""
    monkeypatch.setenv("OCHE_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def start(*arguments: Any, state: Path | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    if state is not None:
        environment["OCHE_STATE_DIR"] = str(state)
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def finish(client: subprocess.Popen[str]) -> str:
    """Waits for its end; returns the last line it wrote to stderr, empty if it ended well."""
    try:
        _, text = client.communicate(timeout=BOUND)
    finally:
        client.kill()
        client.wait(10)
    return "" if client.returncode == 0 else text.strip().splitlines()[-1]


def values(journal: Path) -> list[tuple[bytes, int, int, Any]]:
    """(operation, lo, hi, values) of all pieces that claim to have values."""
    with closing(sqlite3.connect(journal)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            return []
        rows = db.execute("SELECT op, lo, hi, value FROM piece WHERE value IS NOT NULL").fetchall()
        return [(op, lo, hi, json.loads(value)) for op, lo, hi, value in rows]


def written(state: Path) -> int:
    """Pieces that have a value."""
    path = state / "runs" / "night" / "journal.db"
    with closing(sqlite3.connect(path)) as db:
        try:
            return int(db.execute("SELECT count(value) FROM piece").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def well_begun(state: Path, pieces: int) -> None:
    path = state / "runs" / "night" / "journal.db"
    until(lambda: path.exists() and written(state) >= pieces, "values in the journal")


# --- full


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A disk of its own of so many bytes; skips the test where we may not mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Takes all room that is left; returns the file that holds it."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        size = 1 << 16
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    return path


def test_the_journals_disk_is_full(state: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    with small_disk(tmp_path / "disk", 16 << 20) as disk:
        client = start("local:", out, state=disk)
        well_begun(disk, 5)
        filler = fill(disk)
        assert finish(client).startswith("JournalError: the journal of run 'night' cannot be read or written")
        claimed = values(disk / "runs" / "night" / "journal.db")
        assert len(claimed) >= 5
        # Still full: it says so at once.
        assert finish(start("local:", out, state=disk)).startswith("JournalError")
        filler.unlink()
        assert finish(start("local:", out, state=disk)) == ""
        assert json.loads(out.read_text()) == ANSWER


@pytest.mark.parametrize("farm", ["local", "sqlite", "beanstalkd"], indirect=True)
def test_the_journal_must_not_grow(farm: Farm, state: Path, tmp_path: Path) -> None:
    """As a full disk, for those who may not mount one: no file of the client may grow any more."""
    if farm.engine != "local":
        farm.worker("--slots", "2")
    out = tmp_path / "out.json"
    client = start(farm.url, out)
    well_begun(state, 5)
    _, hard = resource.prlimit(client.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(client.pid, resource.RLIMIT_FSIZE, (1 << 12, hard))
    line = finish(client)
    # The queue in a file is the client's to write, too.
    assert line.startswith(("JournalError", "QueueFull") if farm.engine == "sqlite" else "JournalError"), line
    assert finish(start(farm.url, out)) == ""
    assert json.loads(out.read_text()) == ANSWER


def test_each_write_of_the_journal_in_turn_fails(state: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No room from the k-th transaction on, for every k: an error by name, never a hang, and the next life goes on."""
    from oche.cluster.journal import Journal

    log = tmp_path / "log"
    transaction = Journal._transaction
    left = 0

    @contextmanager
    def failing(self: Journal) -> Iterator[None]:
        nonlocal left
        left -= 1
        if left < 0:
            pages = self._db.execute("PRAGMA page_count").fetchone()[0]
            self._db.execute(f"PRAGMA max_page_count = {pages}")
        with transaction(self):
            yield
            if left < 0:
                self._db.execute("INSERT INTO job VALUES ('filler', zeroblob(100000))")

    monkeypatch.setattr(Journal, "_transaction", failing)
    for k in range(1, 40):
        left = k
        futures = []
        try:
            with oche.connect("local:", run="night", max_workers=1) as cluster:
                futures = [cluster.submit(errands.log_run, str(log), i) for i in range(8)]
                got = [future.result(BOUND) for future in futures]
        except JournalError:
            delivered = {future.result() for future in futures if future.exception(BOUND) is None}
            assert delivered <= {value for _, _, _, piece in values(state / "runs/night/journal.db") for value in piece}
            continue
        break
    assert k > 3
    assert got == [i * i for i in range(8)]


def test_the_disk_of_the_sqlite_queue_is_full(make_farm: Callable[..., Farm], tmp_path: Path, state: Path) -> None:
    with small_disk(tmp_path / "disk", 16 << 20) as disk:
        farm = make_farm("sqlite")
        farm.url = f"sqlite:///{disk}/jobs.db"
        try:
            with farm.connect() as cluster:
                assert cluster.submit(abs, -1).result(BOUND) == 1
            (worker,) = farm.workers
            out = tmp_path / "out.json"
            client = start(farm.url, out)
            well_begun(state, 5)
            filler = fill(disk)
            assert finish(client).startswith("QueueFull: ")
            with pytest.raises(QueueError, match="make room"):
                oche.connect(farm.url)
            filler.unlink()
            # The worker has waited, and keeps what it had.
            assert finish(start(farm.url, out)) == ""
            assert json.loads(out.read_text()) == ANSWER
            assert worker.poll() is None
        finally:
            farm.close()


def test_a_full_sqlite_queue_fails_calls_by_name(make_farm: Callable[..., Farm], tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16 << 20) as disk:
        farm = make_farm("sqlite")
        farm.url = f"sqlite:///{disk}/jobs.db"
        with oche.connect(farm.url) as cluster:
            fill(disk)
            for call in (lambda: cluster.submit(len, "x" * 50_000).result(BOUND), lambda: list(cluster.map(abs, [1]))):
                with pytest.raises(QueueFull, match="make room"):
                    call()


# --- crash images


def test_a_journal_copied_at_any_moment_is_sound(state: Path, tmp_path: Path, chance: random.Random) -> None:
    """What kill -9 leaves: the files of one moment. What a power cut leaves: the log's end cut off or garbled."""
    out = tmp_path / "out.json"
    journal = state / "runs" / "night"
    client = start("local:", out)
    images: list[Path] = []
    well_begun(state, 1)
    while client.poll() is None and len(images) < 25:
        threading.Event().wait(chance.uniform(0.0, 0.08))
        client.send_signal(signal.SIGSTOP)
        try:
            images.append(tmp_path / f"image{len(images)}")
            shutil.copytree(journal, images[-1])
        finally:
            client.send_signal(signal.SIGCONT)
    assert finish(client) == ""
    assert len(images) > 5
    assert json.loads(out.read_text()) == ANSWER
    true = {(op, lo, hi): value for op, lo, hi, value in values(journal / "journal.db")}
    garbled = 0
    before = -1
    for image in images:
        damaged = shutil.copytree(image, image.with_name(image.name + "damaged"))
        claimed = values(image / "journal.db")
        assert len(claimed) >= before, "what was written down is there for good"
        before = len(claimed)
        for op, lo, hi, value in claimed:
            assert true[op, lo, hi] == value
        log = damaged / "journal.db-wal"
        if log.exists() and (size := log.stat().st_size):
            garbled += 1
            at = chance.randrange(size)
            with log.open("r+b") as file:
                if garbled % 2:
                    file.truncate(at)
                else:
                    file.seek(at)
                    file.write(chance.randbytes(min(size - at, 4096)))
            for op, lo, hi, value in values(damaged / "journal.db"):
                assert true[op, lo, hi] == value
    assert garbled > 3
    # The damaged ones resume, too.
    for image in chance.sample(images, 2):
        folder = tmp_path / f"state of {image.name}"
        shutil.copytree(image.with_name(image.name + "damaged"), folder / "runs" / "night")
        out.unlink()
        assert finish(start("local:", out, state=folder)) == ""
        assert json.loads(out.read_text()) == ANSWER


def test_a_journal_that_was_only_begun_is_no_run_and_no_obstacle(state: Path) -> None:
    folder = state / "runs" / "night"
    folder.mkdir(parents=True)
    (folder / "journal.db").touch()
    assert runs() == []
    with oche.connect("local:", run="night", max_workers=1) as cluster:
        assert cluster.submit(mischief.steady, 3).result(BOUND) == 9
    assert [(run.name, run.finished) for run in runs()] == [("night", 1)]
