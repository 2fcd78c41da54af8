"""What this machine brings along, whatever the broker is: the key, the journals, and what `local:` stands on."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from oche.cluster.journal import runs_folder
from oche.engines.opening import connect
from oche.errors import Broken, ConfigError, Disconnected, JobError, KeyMissing
from oche.ops import doctor_workers
from oche.ops.doctor_sqlite import disk
from oche.ops.finding import Finding, error, note, ok
from oche.wire.signing import Signer, key_file, load_key
from oche.worker.about import about, own_version
from oche.worker.cores import usable_cores


def versions() -> Finding:
    """Of this very program."""
    return ok("here", f"oche {own_version()}, Python {platform.python_version()}, {usable_cores()} cores")


def journals() -> Iterator[Finding]:
    """Where named runs are written down."""
    yield from disk("journal", runs_folder())


def key(exposed: bool) -> tuple[Signer | None, Finding]:
    """The key, if there is one, and what is to be said about it; never the key itself, and none is made."""
    where = "OCHE_KEY" if os.environ.get("OCHE_KEY") else str(key_file())
    try:
        return Signer(load_key(local=False)), ok("key", f"there, in {where}")
    except KeyMissing:
        text = f"none: OCHE_KEY is not set and there is no {key_file()}"
        if exposed:
            remedy = "run `oche key` on the machine that has one, and set OCHE_KEY here to what it prints"
            return None, error("key", f"{text}; on a broker that others reach nothing works without one", remedy)
        return None, note("key", f"{text}; the first client or worker makes it")
    except ConfigError as wrong:
        text, _, remedy = str(wrong).partition("; ")
        return None, error("key", text, remedy)


def engine(url: str) -> Iterator[Finding]:
    """Whether `local:`, or an engine that is an executor, computes: a worker is asked what it is.

    Raises `ConfigError` for a URL that cannot be right, `Disconnected` if nobody answers there.
    """
    began = time.perf_counter()
    local = url == "local:"
    try:
        with connect(url, max_workers=1 if local else None) as cluster:
            slots, told = cluster.slots, cluster.submit(about).result(60.0)
    except (Broken, JobError, OSError, TimeoutError) as wrong:
        if isinstance(wrong, Disconnected):
            raise
        remedy = "`oche worker -v` says more" if local else "see the logs of its workers; oche must be installed there"
        yield error("reachable", f"no worker could compute: {wrong}", remedy)
        return
    yield ok("reachable", f"a worker answered {time.perf_counter() - began:.2f} s after the URL was opened")
    if not local:
        yield ok("workers", f"{slots} call{'s' * (slots != 1)} at a time")
        own = about()
        differ = list(doctor_workers.versions("the worker", told, own))
        yield from differ or [ok("code", f"oche {own['oche']} and Python {own['python']} there, as here")]
    yield from disk("temporary", Path(tempfile.gettempdir()))
