"""Stages: functions from a message to messages, and the file that holds them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from oche.errors import ConfigError
from oche.streams.seam import DEAD, check_topic

Function = Callable[[Any], object]


@dataclass(frozen=True)
class Stage:
    """A function that handles the messages of a channel. Calling it calls the function, here and now."""

    function: Function
    topic: str
    channel: str
    to: tuple[str, ...]  #: topics that its results may go to
    retries: int  #: further tries for a message on which it fails, before that goes to `topic.dead`
    timeout: float  #: seconds that a call may take; 0 is no limit
    bound: int  #: messages in a topic of `to` above which no input is taken

    def __call__(self, message: Any) -> object:
        return self.function(message)

    @property
    def name(self) -> str:
        """topic/channel: there is one such stage in a pipeline."""
        return f"{self.topic}/{self.channel}"


def stage(
    topic: str, *, channel: str, to: str | Sequence[str] = (), retries: int = 3, timeout: float = 0.0,
    bound: int = 10_000,
) -> Callable[[Function], Stage]:  # fmt: skip
    """Marks a function as a stage: `@stage("numbers", channel="worker_group_a", to=("primes", "non_primes"))`.

    The function gets each message of the channel, a value as JSON has them. With one topic in `to` it returns the
    value that goes there; with several it returns a pair, `("primes", value)`; as a generator it yields any number of
    these. None is no message. It may run twice for one message, and its results are published once each, as far as
    the next channel remembers.

    A message on which it raises, dies or runs over `timeout` (seconds; 0: none) is tried again after a pause,
    `retries` times, and then goes to the topic `TOPIC.dead` with the reason. While a topic of `to` holds more than
    `bound` messages for one of its channels, no input is taken.

    Raises `ConfigError` for a name or a value that cannot be right.
    """
    targets = (to,) if isinstance(to, str) else tuple(to)
    for name in (topic, *targets):
        check_topic(name)
    check_topic(f"{topic}{DEAD}")
    check_topic(channel, "channel")
    for what, value, least in (("retries", retries, 0), ("timeout", timeout, 0), ("bound", bound, 1)):
        if not isinstance(value, (int, float)) or not least <= value < float("inf"):
            raise ConfigError(f"{what}={value!r} of stage {topic}/{channel} cannot be used: give {least} or more")
    return lambda function: Stage(function, topic, channel, targets, retries, timeout, bound)


def load_stages(target: str) -> dict[str, Stage]:
    """The stages of a file (NAME.py) or a module, by name.

    Raises `ConfigError` if there is no such file or module, if it has no stages, or two for one channel; and what it
    raises when it is run.
    """
    path = Path(target)
    module = _from_file(path) if path.suffix == ".py" or path.is_file() else _from_module(target)
    found = [thing for thing in vars(module).values() if isinstance(thing, Stage)]
    if not found:
        raise ConfigError(f"{target} has no stages; mark functions with @oche.streams.stage(TOPIC, channel=NAME)")
    stages: dict[str, Stage] = {}
    for one in dict.fromkeys(found):
        if one.name in stages:
            raise ConfigError(
                f"{target} has two stages for {one.name}; each would get a part: give one another channel"
            )
        stages[one.name] = one
    return stages


def _from_file(path: Path) -> ModuleType:
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; give a file with stages") from error
    folder = str(path.parent.resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = ModuleType(path.name)  # with its suffix no import finds it, so it is in nobody's way
    module.__file__ = str(path)
    sys.modules[path.name] = module  # dataclasses and pickles look their module up there
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module


def _from_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name + ".").startswith(error.name + "."):
            raise  # it is there, and something that it imports is not
        raise ConfigError(f"there is no module {name!r}; for a file write {name}.py") from error
