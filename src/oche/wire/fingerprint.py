"""The fingerprint of a task's code, so that a node with other code refuses its jobs instead of running them.

It is that of the source as this process loaded it, read once, at first use: of the module, and where that lives in a
package, of all the package's modules, since a task is only as new as what it calls. Edited code is thus noticed by
whoever starts afterwards, and a long-lived process goes on to name what it really runs.
"""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import FunctionType, MethodType, ModuleType

from oche.errors import WrongCode
from oche.wire.symbols import module_of

PYTHON = f"python-{sys.version_info.major}.{sys.version_info.minor}"
#: A package of more files than this is a library: the module's own source must do.
MOST_FILES = 500
#: CPython's flag of types that a `class` statement made.
_HEAP_TYPE = 1 << 9


def fingerprint(fn: object) -> str:
    """ "sha256:" and 16 hexadecimal digits of the source of the function's module, or of its whole package.

    The standard library has that of Python ("python-3.11"), and a module without a source file that of its
    distribution ("numpy-2.4.6").
    """
    module = module_of(fn)
    # Functions of C that live in a module of Python, as numpy's do: their type is C's own, not made by a `class`.
    native = not isinstance(fn, (type, FunctionType, MethodType)) and not type(fn).__flags__ & _HEAP_TYPE
    return _of_library(module.partition(".")[0]) if native else of_module(module)


def check_code(name: str, theirs: str, function: object) -> None:
    """Raises `WrongCode` unless the function found here under this name has their fingerprint."""
    own = fingerprint(function)
    if own != theirs:
        module = module_of(function)
        file = getattr(sys.modules.get(module), "__file__", None) or "built in"
        raise WrongCode(
            f"{name} has the fingerprint {own} on this node ({file}) and {theirs or 'none'} at the caller; "
            "bring both to the same code, and restart the worker"
        )


@cache
def of_module(name: str) -> str:
    """The fingerprint of an imported module, as it was at the first call."""
    top = name.partition(".")[0]
    source = None if top in sys.stdlib_module_names else _source(sys.modules.get(name))
    if source is None:
        return _of_library(top)
    return _of_package(top) or digest(source)


@cache
def _of_package(top: str) -> str:
    """One fingerprint for all modules of a package; "" for what is no package, or larger than anybody's own code."""
    files: list[tuple[str, Path]] = []
    for folder in getattr(sys.modules.get(top), "__path__", ()):
        for file in Path(folder).rglob("*.py"):
            files.append((file.relative_to(folder).as_posix(), file))
            if len(files) > MOST_FILES:
                return ""
    try:
        parts = [f"{name} {digest(file.read_bytes())}" for name, file in sorted(files)]
    except OSError:
        return ""
    return digest("\n".join(parts).encode()) if parts else ""


def digest(data: bytes) -> str:
    """ "sha256:" and 16 hexadecimal digits."""
    return f"sha256:{hashlib.sha256(data).hexdigest()[:16]}"


def _source(module: ModuleType | None) -> bytes | None:
    """The bytes of the module's source file, also from a zip archive; None for C extensions and the like."""
    spec = getattr(module, "__spec__", None)
    path = getattr(spec, "origin", None) or getattr(module, "__file__", None)
    if not isinstance(path, str) or path.endswith(tuple(EXTENSION_SUFFIXES)):
        return None
    try:
        return Path(path).read_bytes()
    except OSError:
        pass
    try:
        data = spec.loader.get_data(path)  # type: ignore[union-attr]
    except (AttributeError, OSError):
        return None
    return data if isinstance(data, bytes) else None


@cache
def _of_library(top: str) -> str:
    if top in sys.stdlib_module_names:
        return PYTHON
    import importlib.metadata  # takes as long to load as the rest of the wire

    try:
        return f"{top}-{importlib.metadata.version(top)}"
    except (importlib.metadata.PackageNotFoundError, ValueError):
        pass
    # Slow, as it reads the list of files of all that is installed; so it comes last.
    for distribution in importlib.metadata.packages_distributions().get(top, ()):
        return f"{top}-{importlib.metadata.version(distribution)}"
    return PYTHON
