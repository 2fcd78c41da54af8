"""Pickles: for values that JSON cannot hold and for functions that cannot be imported. The one user of cloudpickle.

It is imported at first need: a client that sends plain values never pays for it.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import pickle
import re
import reprlib
import sys
import threading
from collections.abc import Callable, Iterable, Iterator

#: Python 3.8 and later read it.
_PROTOCOL = 5
#: cloudpickle's registry of modules that go by value belongs to the whole process.
_registry = threading.Lock()


def pickled(value: object) -> bytes:
    """Pickles by the standard library where that can be read elsewhere, else by cloudpickle. Raises what they raise."""
    try:
        data = pickle.dumps(value, _PROTOCOL)
        if b"__main__" not in data and b"__mp_main__" not in data:  # by name there, and the worker has another one
            return data
    except Exception:
        pass
    return cloud_dumps(value)


def pickled_apart(value: object, least: float) -> tuple[bytes, list[memoryview]]:
    """Pickles by cloudpickle, without the memory of arrays of `least` bytes or more: `loads` wants it in this order."""
    apart: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        memory = buffer.raw()
        if memory.nbytes >= least:
            apart.append(memory)
        return memory.nbytes < least  # whether it is to be part of the pickle

    return cloud_dumps(value, keep=keep), apart


def cloud_dumps(
    value: object, *, by_value: str = "", keep: Callable[[pickle.PickleBuffer], bool] | None = None
) -> bytes:
    """Pickles by cloudpickle; what comes from the loaded module named `by_value` goes by value, too."""
    import cloudpickle

    with _goes_by_value(by_value):
        return bytes(cloudpickle.dumps(value, _PROTOCOL, buffer_callback=keep))


def loads(data: bytes, apart: Iterable[object] = ()) -> object:
    """The value. Runs whatever the pickle names: only for what a valid signature covers. Raises anything."""
    return pickle.loads(data, buffers=apart)


def to_text(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode()


def from_text(text: str) -> bytes:
    """Raises `ValueError` for what is not base64."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error


def short(value: object, limit: int = 80) -> str:
    """A readable piece of `repr(value)`, the same in every process; never raises."""
    shape = reprlib.Repr()
    shape.maxother = shape.maxstring = shape.maxlong = limit
    try:
        text = shape.repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", text)
    return clean(text if len(text) <= limit else text[: limit - 3] + "...")


def clean(text: str) -> str:
    """The text as UTF-8 can hold it: lone surrogates become escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


@contextlib.contextmanager
def _goes_by_value(name: str) -> Iterator[None]:
    import cloudpickle

    module = sys.modules.get(name)
    if module is None or name in ("__main__", "builtins"):
        yield
        return
    with _registry:
        if name in cloudpickle.list_registry_pickle_by_value():  # by the user's own wish
            yield
            return
        cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            cloudpickle.unregister_pickle_by_value(module)
