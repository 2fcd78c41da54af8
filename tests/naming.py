"""Names of test cases, the same in every process, so that tests can be dealt to several."""

from __future__ import annotations

import re


def plain(value: object) -> str:
    """The value's repr without addresses."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
