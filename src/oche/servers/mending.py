"""Keeps the processes of a cluster running: python -m oche.servers.mending JSON, where `Tree` says what and how.

A worker that ends is started again; when what they need ends, so does all. If this is tied to the process that started
it and that ends, however it does, all ends, too, and the folder goes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from oche.servers.lifeline import end_marked, end_with_parent

#: Seconds before a worker is started again: one that cannot start must not take all of the machine.
REST = 0.2


def mend(folder: Path, mark: str, needed: list[str], workers: list[list[str]], *, quiet: bool, tied: bool) -> int:
    """Starts them all; returns with the exit status of what they need."""
    output = (folder / "complaints").open("wb") if quiet else None

    def start(command: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=end_with_parent
        )

    if tied:
        signal.signal(signal.SIGTERM, _leave)
        end_with_parent(signal.SIGTERM)
    try:
        first, others = start(needed), [(start(command), command) for command in workers]
        while True:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)  # one of them has ended
            if first.poll() is not None:
                return first.returncode
            time.sleep(REST)
            others = [(process if process.poll() is None else start(command), command) for process, command in others]
    finally:
        end_marked(mark, os.environ[mark])
        if tied:
            shutil.rmtree(folder, ignore_errors=True)


def _leave(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it comes once for the thread that ends, and once for the process
    sys.exit(0)


if __name__ == "__main__":
    about = json.loads(sys.argv[1])
    sys.exit(mend(Path(about.pop("folder")), **about))
