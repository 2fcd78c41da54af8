"""The process that keeps what `oche up` started: python -m oche.ops.keeper KIND SLOTS FOLDER."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path

from oche.engines.opening import connect
from oche.errors import OcheError
from oche.ops.up import PATIENCE, Cluster
from oche.servers.kinds import up


def keep(kind: str, slots: int, folder: Path) -> None:
    """Starts it, says so in `up.json` once a call has come back, and ends it on SIGTERM."""
    lock = (folder / "lock").open("wb")  # free again when this process ends, however it ends
    fcntl.flock(lock, fcntl.LOCK_EX)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with up(kind, slots, folder) as url:
        with connect(url) as cluster:
            cluster.submit(os.getpid).result(PATIENCE)
        told = Cluster(kind=kind, url=url, slots=slots, pid=os.getpid(), since=time.time())
        (folder / "telling").write_text(json.dumps(asdict(told)))
        (folder / "telling").rename(folder / "up.json")
        while True:
            signal.pause()


if __name__ == "__main__":
    try:
        keep(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
    except OcheError as error:
        sys.exit(str(error))
