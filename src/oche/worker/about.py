"""What a worker tells of itself to who asks: a task like any other, asked of each worker by its own tube."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version

from oche.wire.fingerprint import of_module


def about() -> dict[str, str | float]:
    """Versions of oche and Python, the fingerprint of oche's code, the process, and the time there (UTC, seconds)."""
    return {
        "oche": own_version(),
        "code": of_module(__name__),
        "python": platform.python_version(),
        "pid": os.getpid(),
        "time": time.time(),
    }


def own_version() -> str:
    """The version of oche, or "of its source tree" where it is not installed."""
    try:
        return version("oche")
    except PackageNotFoundError:
        return "of its source tree"
