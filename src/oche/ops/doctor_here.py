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
from oche.errors import ConfigError, KeyMissing, OcheError
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


def local() -> Iterator[Finding]:
    """Whether `local:` works: a process of this machine is started and asked."""
    began = time.perf_counter()
    try:
        with connect("local:", max_workers=1) as cluster:
            cluster.submit(about).result(60.0)
    except (OcheError, OSError, TimeoutError) as wrong:
        yield error("reachable", f"no process could be started to compute: {wrong}", "`oche worker -v` says more")
        return
    yield ok("reachable", f"a process starts and answers within {time.perf_counter() - began:.2f} s")
    yield from disk("temporary", Path(tempfile.gettempdir()))
