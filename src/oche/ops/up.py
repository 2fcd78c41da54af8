"""`oche up` and `oche down`: a cluster on this machine for trying, in the care of one process in the background.

    oche up redis ---> keeper (ops/keeper.py) ---> redis-server, oche worker redis://...
                       holds FOLDER/lock           end with it, however it ends
                       writes FOLDER/up.json       once a call has come back
    oche down     ---> SIGTERM to the keeper; what still carries its mark in the environment is killed

A lock that is free tells a keeper that is gone, and its mark finds whatever it left: process ids come again, marks do
not.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from oche.cluster.journal import runs_folder
from oche.errors import ConfigError, Disconnected
from oche.servers.kinds import ALONE, KINDS
from oche.servers.lifeline import end_marked

#: Seconds until a cluster must have answered: frameworks may take their time.
PATIENCE = 120.0
#: Seconds that a keeper gets to end what it started.
GRACE = 20.0
#: Variable of the environment that all processes of a cluster carry.
MARK = "OCHE_UP"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One that is up."""

    kind: str
    url: str
    slots: int
    pid: int  #: of its keeper
    since: float  #: seconds since the epoch


def start(kind: str, slots: int) -> tuple[Cluster, bool]:
    """The cluster of this kind, and whether it was up already: there is one of each.

    Raises `ConfigError` for a kind that cannot be started, `Disconnected` with the end of its log where it did not
    come up.
    """
    if kind in ALONE:
        raise ConfigError(f"there is nothing to start for {kind}: connect({kind + ':'!r}) does that by itself")
    if kind not in KINDS:
        raise ConfigError(f"{kind!r} is nothing that can be started here; there are {', '.join(KINDS)}")
    with _turn(kind):
        found = look(kind)
        return (found, True) if found is not None else (_start(kind, slots), False)


def stop(kind: str) -> Cluster | None:
    """Ends the cluster of this kind and all that belongs to it; None if it was not up."""
    with _turn(kind):
        found = look(kind)
        if found is not None:
            _end(found.pid, lambda: look(kind) is None)
        _sweep(kind)
    return found


def running() -> list[Cluster]:
    """All that is up."""
    return [found for kind in KINDS if (found := look(kind)) is not None]


def look(kind: str) -> Cluster | None:
    """The cluster of this kind, if it is up."""
    folder = _folder(kind)
    try:
        with (folder / "lock").open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:  # its keeper lives
                return Cluster(**json.loads((folder / "up.json").read_text()))
    except FileNotFoundError:
        pass
    return None


def _start(kind: str, slots: int) -> Cluster:
    _sweep(kind)
    folder = _folder(kind)
    folder.mkdir(mode=0o700)
    command = [sys.executable, "-m", "oche.ops.keeper", kind, str(slots), str(folder)]
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Not by subprocess: it would have us wait for it.
        pid = os.posix_spawn(
            sys.executable, command, {**os.environ, MARK: str(folder)}, setsid=True,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), *(
                (os.POSIX_SPAWN_DUP2, log, stream) for stream in (1, 2)
            )],
        )  # fmt: skip
    finally:
        os.close(log)

    def ended() -> bool:
        try:
            return os.waitpid(pid, os.WNOHANG)[0] == pid
        except ChildProcessError:  # known already
            return True

    end = time.monotonic() + PATIENCE
    while not ended() and time.monotonic() < end:
        if (found := look(kind)) is not None:
            return found
        time.sleep(0.02)
    why = (folder / "log").read_text(errors="replace").strip()[-2000:] or f"no answer within {PATIENCE:g} s"
    _end(pid, ended)
    _sweep(kind)
    raise Disconnected(f"{kind} did not come up: {why}")


def _folder(kind: str) -> Path:
    return runs_folder().parent / "up" / kind


@contextmanager
def _turn(kind: str) -> Iterator[None]:
    """One at a time starts or ends a kind."""
    folder = _folder(kind)
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with folder.with_suffix(".turn").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _end(pid: int, gone: Callable[[], bool]) -> None:
    """SIGTERM, and SIGKILL after `GRACE` seconds."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, how)
        except ProcessLookupError:
            return
        end = time.monotonic() + GRACE
        while time.monotonic() < end:
            if gone():
                return
            time.sleep(0.02)


def _sweep(kind: str) -> None:
    """Kills what a keeper that is gone has left, and removes its folder."""
    folder = _folder(kind)
    end_marked(MARK, str(folder))
    shutil.rmtree(folder, ignore_errors=True)
