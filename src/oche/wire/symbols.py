"""Names of functions and classes, "module:qualname", and the way back."""

from __future__ import annotations

import importlib
import sys
from types import BuiltinMethodType, MethodType

#: Modules that are another program on another machine, or none at all.
_SCRIPTS = frozenset({"__main__", "__mp_main__"})


def name_of(thing: object) -> str:
    """ "module:qualname" of a function, class or other callable, for people; an object goes by its class."""
    qualname = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)
    if not isinstance(qualname, str):
        thing = type(thing)
        qualname = thing.__qualname__
    return f"{module_of(thing)}:{qualname}"


def module_of(thing: object) -> str:
    """Name of the module that a callable says it is from; "builtins" if it says nothing."""
    owner = getattr(thing, "__objclass__", thing)  # methods of C types know their class only
    module = getattr(owner, "__module__", None)
    if isinstance(module, str):
        return module
    return type(thing).__module__.partition(".")[0]  # ufuncs: numpy


def symbol(thing: object) -> str:
    """ "module:qualname" if other processes find this very object under it, else ""."""
    name = name_of(thing)
    found = loaded(name)
    if found is thing:
        return name
    # A bound method is made anew at each look; that of a class is equal to itself.
    bound = isinstance(thing, (MethodType, BuiltinMethodType)) and isinstance(thing.__self__, type)
    return name if bound and found == thing else ""


def importable(module: str) -> bool:
    """Whether other processes can import the loaded module of this name, as far as can be seen here."""
    return module not in _SCRIPTS and getattr(sys.modules.get(module), "__spec__", None) is not None


def loaded(name: str) -> object:
    """What "module:qualname" is in this process, without importing anything; None unless it is importable."""
    module, _, qualname = name.partition(":")
    if not importable(module):
        return None
    try:
        return _walk(sys.modules[module], qualname)
    except AttributeError:
        return None


def find(name: str) -> object:
    """Imports "module:qualname".

    Raises `ValueError` for another form, `AttributeError`, `ImportError`, and what the module raises.
    """
    module, colon, qualname = name.partition(":")
    if not (colon and module and qualname) or module.startswith("."):
        raise ValueError(f'{name!r} is not of the form "module:name"')
    return _walk(importlib.import_module(module), qualname)


def _walk(thing: object, path: str) -> object:
    for step in path.split("."):
        thing = getattr(thing, step)
    return thing
