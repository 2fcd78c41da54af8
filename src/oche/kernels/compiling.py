"""How a loop becomes machine code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from numba import njit

P = ParamSpec("P")
R = TypeVar("R")


def compiled(body: Callable[P, R]) -> Callable[P, R]:
    """`body` in machine code, without the GIL, for each set of types that it is called with.

    It comes from numba's cache on disk, or is compiled at the first call (a second or less) where there is none.
    """
    return compiled_for(None)(body)


def compiled_for(signature: object, **options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The same for the types that numba's signature (or a list of them) names, at once; `options` are numba's."""

    def make(body: Callable[P, R]) -> Callable[P, R]:
        chosen = {"nogil": True, **options}
        try:
            fast: Callable[P, R] = njit(signature, cache=True, **chosen)(body)
        except (RuntimeError, OSError):  # nowhere to write: not beside that file, in the home, or in NUMBA_CACHE_DIR
            fast = njit(signature, **chosen)(body)
        return fast

    return make
