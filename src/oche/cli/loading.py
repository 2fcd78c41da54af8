"""FILE:FUNCTION or MODULE:FUNCTION to the function."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from oche.cli.options import here_first
from oche.errors import ConfigError
from oche.wire.pickles import from_text, loads
from oche.wire.task import Task, reference


def load_function(target: str) -> Callable[..., Any]:
    """The function. Raises `ConfigError` if it is not there, and what the file or module raises."""
    where, colon, name = target.rpartition(":")
    if not (colon and where and name):
        raise ConfigError(f"{target!r} names no function; write FILE:FUNCTION or MODULE:FUNCTION, as work.py:square")
    path = Path(where)
    module = _from_file(path) if path.suffix == ".py" or path.is_file() else _from_module(where)
    found: Any = module
    for step in name.split("."):
        found = getattr(found, step, None)
    if not callable(found):
        names = ", ".join(sorted(_functions(module))) or "none"
        raise ConfigError(f"{where} has no function {name!r}; its functions: {names}")
    return _packed(found) if module.__spec__ is None else found


class _Packed:
    """A function that travels by value, pickled once: it does not change while the verb runs."""

    def __init__(self, function: Callable[..., Any], data: bytes) -> None:
        functools.update_wrapper(self, function)
        self._function, self._data = function, data

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __reduce__(self) -> tuple[Callable[[bytes], object], tuple[bytes]]:
        return loads, (self._data,)


def _packed(function: Callable[..., Any]) -> Callable[..., Any]:
    if isinstance(function, Task):
        return Task(_packed(function.function), function.options)
    return _Packed(function, from_text(reference(function, by_value=True).code))


def _from_file(path: Path) -> ModuleType:
    """Runs the file as a module under its file's name, suffix and all.

    No import finds that name on any machine, so its functions travel by value: workers need not have the file.
    What it imports, they need.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; write FILE:FUNCTION, as work.py:square") from error
    sys.path.insert(0, str(path.parent.resolve()))
    module = ModuleType(path.name)
    module.__file__ = str(path)
    sys.modules[path.name] = module  # dataclasses and pickles look their module up there
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module


def _from_module(name: str) -> ModuleType:
    here_first()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name + ".").startswith(error.name + "."):
            raise  # it is there, and something that it imports is not
        raise ConfigError(f"there is no module {name!r}; for a file write {name}.py:FUNCTION") from error


def _functions(module: ModuleType) -> list[str]:
    return [
        name
        for name, thing in vars(module).items()
        if callable(thing) and not name.startswith("_") and getattr(thing, "__module__", "") == module.__name__
    ]
