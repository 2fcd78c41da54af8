"""Processes that end with the one that started them, also when that is killed; and what is left of it all the same."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

#: Of <sys/prctl.h>: the signal that this process gets when its parent ends.
PR_SET_PDEATHSIG = 1
#: Seconds in which what was killed has gone.
PATIENCE = 10.0


def end_with_parent(how: signal.Signals = signal.SIGKILL) -> None:
    """From now on this process gets the signal when its parent ends, however that happens. Linux; elsewhere nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(how), 0, 0, 0)


def marked(variable: str, value: str) -> dict[int, str]:
    """The processes that were started with this in their environment: id -> command. Linux; elsewhere none.

    All below a process have it, also those that left it: ids come again and parents change, an environment does not.
    """
    wanted = f"{variable}={value}".encode()
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # somebody else's, or gone meanwhile
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (
                    (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
    return found


def end_marked(variable: str, value: str) -> None:
    """Kills them all but the caller, and returns when none is left, or after `PATIENCE` seconds.

    A resource tracker of multiprocessing's is waited for: it ends by itself after those whom it serves, and it alone
    knows what to remove then.
    """
    end, own = time.monotonic() + PATIENCE, os.getpid()
    while (left := {pid: line for pid, line in marked(variable, value).items() if pid != own}) and (
        time.monotonic() < end
    ):
        for pid, command in left.items():
            if "resource_tracker" not in command:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
