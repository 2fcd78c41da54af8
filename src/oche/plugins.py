"""Drivers by the scheme of a URL: those of this package, and those that others installed as entry points."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from oche.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def drivers(group: str, built_in: Mapping[str, str]) -> dict[str, EntryPoint]:
    """Scheme to driver. `built_in` has "module:Class"; others bring theirs as entry points of this group."""
    from importlib.metadata import EntryPoint, entry_points  # a third of a child's start, which seldom needs it

    known = {scheme: EntryPoint(scheme, target, group) for scheme, target in built_in.items()}
    return known | {point.name: point for point in entry_points(group=group)}


def load_driver(url: str, known: Mapping[str, EntryPoint], what: str) -> Any:
    """The driver for the URL's scheme; `what` it drives, for messages.

    Raises `ConfigError` for an unknown scheme, or if the driver's library is missing.
    """
    scheme = url.partition(":")[0].lower() if ":" in url else ""
    if scheme not in known:
        raise ConfigError(
            f"{without_password(url)!r} does not begin with the scheme of a {what}; "
            f"known are {', '.join(sorted(known))}"
        )
    try:
        return known[scheme].load()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "oche":
            raise
        extra = known[scheme].module.rpartition(".")[2]
        raise ConfigError(
            f"{scheme} needs the package {error.name!r}, which is not installed; run pip install 'oche[{extra}]'"
        ) from error


def without_password(url: str) -> str:
    """The URL as it may be shown, or travel: without user and password."""
    return re.sub(r"^([^:/?#]*:?//)[^/?#]*@", r"\1", url)
