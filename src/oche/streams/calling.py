"""What a child does with a message: finds the stage, calls it, and says what is to be published where.

To the worker's machinery this is a task like any other. Its arguments and its value are texts, so nothing that came
from a broker is ever read as anything but JSON.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from types import GeneratorType

from oche.errors import ConfigError
from oche.streams.stage import Stage, load_stages


def handle(target: str, name: str, text: str) -> list[list[str]]:
    """Calls the stage `name` of the file or module `target` with the message; returns [topic, JSON] for each result.

    Raises what the stage raises, and `ConfigError` for a result that cannot be published.
    """
    found = _stages(target)[name]
    results = found(read_json(text))
    many = results if isinstance(results, GeneratorType) else (results,)
    return [list(_addressed(found, result)) for result in many if result is not None]


def load(target: str) -> None:
    """Loads the stages, for the start of a child. Raises what `load_stages` does."""
    _stages(target)


def read_json(text: str | bytes) -> object:
    """The value. Raises `ValueError` for anything but JSON, nan and infinity included."""
    return json.loads(text, parse_constant=_refuse)


def write_json(value: object) -> str:
    """One line of JSON. Raises `ConfigError` for what JSON cannot hold."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{str(value)[:60]!r} cannot be published: {error}; messages are JSON values") from error


# A process runs one file; it is loaded once.
_stages: Callable[[str], dict[str, Stage]] = functools.cache(load_stages)


def _addressed(found: Stage, result: object) -> Iterator[str]:
    topic: object
    if len(found.to) == 1:
        topic, value = found.to[0], result
    elif isinstance(result, tuple) and len(result) == 2:
        topic, value = result
    else:
        topic, value = None, result
    if topic not in found.to:
        known = " or ".join(f"({name!r}, value)" for name in found.to) or "None: it has no `to`"
        raise ConfigError(f"the stage {found.name} returned {str(result)[:60]!r}; it may return {known}")
    return iter((str(topic), write_json(value)))


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")
