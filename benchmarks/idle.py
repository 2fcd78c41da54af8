"""What a worker that has nothing to do costs its broker and its machine."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

import psutil

import machine
from servers import Server

SLOTS = 2
#: Seconds after its start in which a worker settles.
SETTLE = 3.0


def idle(kind: type[Server], wait: float) -> tuple[float | None, float]:
    """Broker operations a second and slot (None where the broker does not count) and the resident memory of the
    worker's parent, MB, over `wait` seconds."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = kind(Path(folder))
        environment = {**machine.environment(), "OCHE_CONFIG_DIR": folder + "/config"}
        url = server.url.rstrip("/")
        command = [machine.python(), "-m", "oche.cli.main", "worker", url, "--slots", str(SLOTS)]
        worker = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        try:
            time.sleep(SETTLE)
            before = server.operations()
            time.sleep(wait)
            after = server.operations()
            # The second question is an operation, too.
            rate = None if before is None or after is None else max(0, after - before - 1) / wait / SLOTS
            return rate, psutil.Process(worker.pid).memory_info().rss / 2**20
        finally:
            worker.terminate()
            worker.wait(20)
            for child in psutil.Process(server.process.pid).children(recursive=True):
                child.terminate()
            server.process.terminate()
            server.process.wait(20)
