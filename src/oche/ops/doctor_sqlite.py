"""What the file of a SQLite queue, and the disk under it, mean for a farm."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from oche.ops.finding import Finding, error, note, ok, warning
from oche.ops.seen import Seen, size, version

LEAST = (3, 37)
#: Bytes of free disk below which it is time to do something.
ROOM = 2**28
#: Bytes that the write-ahead log keeps after a checkpoint; more tells of a reader that keeps it from one.
LOG = 2**28
_REMOTE = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "lustre", "ceph")


def judge(seen: Seen) -> Iterator[Finding]:
    """Of a file that could be opened."""
    path = Path(str(seen.settings.get("path", "")))
    yield version("SQLite", seen.settings.get("version"), LEAST)
    mode = seen.settings.get("journal_mode")
    if mode == "wal":
        yield ok("durability", "write-ahead log, synced before a put returns: a power cut loses nothing that was put")
    else:
        yield error("durability", f"its journal mode is {mode}, not wal", "find who changed it; take a new file")
    yield from disk("disk", path)
    if (kind := file_system(path)) in _REMOTE:
        yield error("disk", f"{path} is on a network ({kind}), where its log does not work", "take a local disk")
    if seen.number("log_size") > LOG:
        text = f"its log has {size(seen.number('log_size'))}: some process has been reading for long"
        yield warning("disk", text, "end the process that has the file open and does nothing")
    if (others := path.stat().st_mode & 0o077) and path.parent.stat().st_mode & 0o001:
        who = "write" if others & 0o022 else "read"
        text = f"other users of this machine may {who} it; workers run only what is signed with your key"
        yield note("access", text, f"where that is too much: chmod 600 {path}")
    else:
        yield ok("access", "reached from this machine only")


def disk(topic: str, path: Path) -> Iterator[Finding]:
    """Room under a path that is there or will be, and whether it can be written."""
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK):
        yield error(topic, f"{there} cannot be written", "give yourself the right to, or name another place")
    elif free < ROOM:
        yield warning(topic, f"{size(free)} free at {there}", "make room: what cannot be written is refused")
    else:
        yield ok(topic, f"{there} can be written; {size(free)} free")


def file_system(path: Path) -> str:
    """The kind of file system that holds the path; "" where the system does not tell."""
    try:
        lines = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return ""
    mounts = [line.split()[1:3] for line in lines]
    under = [(point, kind) for point, kind in mounts if path.is_relative_to(point)]
    return max(under, key=lambda mount: len(mount[0]), default=("", ""))[1]
