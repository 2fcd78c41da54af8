"""Arrays in .npy files: read as a mapping, written whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from oche.errors import ConfigError

if TYPE_CHECKING:
    from oche.stores.arrays import Array


def load_npy(path: Path) -> Array:
    """The array of a file, mapped: what is copied to the workers need not be here as well. Raises `ConfigError`."""
    import numpy as np

    try:
        return np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}; name an .npy file") from error
    except (ValueError, EOFError) as error:
        raise ConfigError(f"{path} is no .npy file that can be mapped ({error}); write one with numpy.save") from error


def check_writable(path: Path) -> None:
    """Raises `ConfigError` where `save_npy` could not make the file: better told before the work than after it."""
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"{path} cannot be made: {path.parent} takes no files; name another folder")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name a file")


def save_npy(path: Path, array: Array) -> None:
    """Under its name once it is whole; a file of that name stays as it is until then. Raises `ConfigError`."""
    import numpy as np

    part = path.with_name(f"{path.name}.part")
    try:
        with open(part, "wb") as file:
            np.save(file, array)
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}; name another file") from error
