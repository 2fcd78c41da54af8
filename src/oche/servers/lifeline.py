"""Processes that end with the one that started them, also when that is killed."""

from __future__ import annotations

import ctypes
import signal
import sys

#: Of <sys/prctl.h>: the signal that this process gets when its parent ends.
PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """From now on this process is killed when its parent ends, however that happens. Linux; elsewhere nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
