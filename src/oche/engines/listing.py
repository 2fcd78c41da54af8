"""What a URL can name here: every engine with its traits, and how to get what is missing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from oche.engines.opening import ONE_MACHINE, schemes
from oche.engines.seam import CREW, EngineTraits
from oche.errors import ConfigError
from oche.plugins import load_driver
from oche.queues import opening as queues


@dataclass(frozen=True, slots=True)
class Listed:
    """One engine."""

    scheme: str  #: what its URLs begin with
    traits: EngineTraits | None  #: None for an executor whose library is missing
    missing: str = ""  #: what there is not, and how to get it


def listing() -> list[Listed]:
    """`local:`, then the executors of others, then the brokers; each in the order of its driver's name."""
    found = [Listed("local", replace(CREW, here=True))]
    for scheme in sorted(schemes()):
        try:
            found.append(Listed(scheme, load_driver(f"{scheme}:", schemes(), "engine").traits))
        except ConfigError as error:
            found.append(Listed(scheme, None, str(error)))
    for scheme in sorted(queues.schemes()):
        traits, lack = replace(CREW, here=scheme in ONE_MACHINE), ""
        try:
            queues.driver(f"{scheme}:")
        except ConfigError as error:
            lack = str(error)
        found.append(Listed(scheme, traits, lack))
    return found
