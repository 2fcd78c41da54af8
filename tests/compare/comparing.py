"""What these tests share: how to wait, and an environment that imports from here."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import oche

#: Seconds in which anything that is under way must have come to its end.
BOUND = 30.0
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(oche.__file__).parent.parent), *sys.path])}


def until(condition: Any, what: str) -> Any:
    """Waits for the condition and returns its value; fails, saying what did not come."""
    end = time.monotonic() + BOUND
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {BOUND:g} s: {what}"
        time.sleep(0.01)
    return value
