"""A Python value to plain JSON values and back: `lower` and `lift`. The marks are listed in `codec`."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from math import isfinite
from types import BuiltinFunctionType, FunctionType, NoneType
from typing import Any

from oche.errors import BadMessage, Unsendable, WrongCode
from oche.wire.arrays import read_array, read_scalar, write_array
from oche.wire.classes import TRUSTED_READERS, write_class, write_pickle
from oche.wire.kinds import LONG, READERS, WRITERS, write_float, write_int, write_str
from oche.wire.pickles import clean, short

#: Types that JSON holds as they are; floats only while finite.
PLAIN = frozenset({int, str, bool, NoneType, float})
#: A value nested deeper than this is pickled or refused; so a value that contains itself ends here.
DEEPEST = 100
#: An object of one of these shares no state with its neighbours, so it may be pickled by itself.
_ALONE = (FunctionType, BuiltinFunctionType, type, enum.Enum, str, bytes, int, float)
#: Immutable, and holds no reference to anything that could be shared.
_LEAVES = frozenset(WRITERS) - {tuple, set, frozenset, bytearray, slice}

_READERS: dict[str, Callable[..., object]] = {**READERS, "$numpy": read_scalar, "$ndarray": read_array}
_ALL_READERS: dict[str, Callable[..., object]] = {**_READERS, **TRUSTED_READERS}


class _Whole(Exception):
    """Only a pickle of the whole value keeps what its parts share."""


def lower(value: object, *, pickles: bool, careful: bool, place: str) -> object:
    """JSON values for one argument or result; `careful` looks also at each text and integer.

    A value is written part by part if that loses nothing, else as one pickle: where an object that JSON does
    not know may share state with its neighbours, where one object stands in two places, or in itself.
    Raises `Unsendable`, which begins with `place` and goes on to the place inside the value.
    """
    try:
        return _write(value, pickles, careful)
    except Exception as error:
        steps, part = _culprit(value, pickles)
        where = ", ".join([place, *steps])
        if pickles:
            raise Unsendable(
                f"{where}: a {_kind(part)} cannot be sent ({_reason(part, error)}); send plain data, and open files, "
                "sockets, locks and the like inside the task"
            ) from error
        raise Unsendable(
            f"{where}: a {_kind(part)} cannot be sent unsigned; only plain JSON, values of the standard library and "
            f"of numpy can, at most {DEEPEST} deep; convert it, or sign the messages with a key (`oche key`)"
        ) from error


def _write(value: object, pickles: bool, careful: bool) -> object:
    try:
        return _Lowering(pickles, careful).lower(value, 0)
    except (_Whole, RecursionError):
        if not pickles:
            raise
    return write_pickle(value)


class _Lowering:
    """One pass over one value."""

    def __init__(self, pickles: bool, careful: bool) -> None:
        self._pickles = pickles
        self._careful = careful
        self._seen: set[int] = set()

    def lower(self, value: Any, depth: int) -> object:
        kind = type(value)
        if kind is int:
            return write_int(value) if self._careful and value.bit_length() > LONG else value
        if kind is str:
            return write_str(value) if self._careful and not _sound(value) else value
        if kind is bool or value is None:
            return value
        if kind is float:
            return value if isfinite(value) else write_float(value)
        if kind is list:
            self._enter(value, depth)
            return self._items(value, depth)
        if kind is dict:
            self._enter(value, depth)
            if self._named(value):
                return self._fields(value, depth)
            pairs = [[self.lower(part, depth + 1) for part in pair] for pair in value.items()]
            return {"$dict": pairs}
        if kind in WRITERS:
            # A flat tuple may stand in many places; any other container only in one.
            if kind not in _LEAVES and not (kind is tuple and _flat(value)):
                self._enter(value, depth)
            mark = WRITERS[kind](value)
            if not self._pickles and mark is not None and "$zoned" in mark:
                raise _Whole
        elif (mark := write_array(value)) is not None:
            if "$ndarray" in mark:
                self._enter(value, depth)
            elif type(mark.get("value")) is str:
                mark["value"] = self.lower(mark["value"], depth)
            return mark
        elif self._pickles and (mark := write_class(value)) is not None and "$enum" not in mark:
            self._enter(value, depth)
        if mark is None:
            return self._pickle(value)
        return {key: self._part(part, depth) for key, part in mark.items()}

    def _enter(self, value: object, depth: int) -> None:
        if depth > DEEPEST or (self._pickles and id(value) in self._seen):
            raise _Whole
        self._seen.add(id(value))

    def _items(self, items: list[Any], depth: int) -> list[object]:
        if not self._careful and _flat(items):
            return items
        return [self.lower(item, depth + 1) for item in items]

    def _fields(self, fields: dict[str, Any], depth: int) -> dict[str, object]:
        if not self._careful and _flat(fields.values()):
            return fields
        return {key: self.lower(item, depth + 1) for key, item in fields.items()}

    def _part(self, part: Any, depth: int) -> object:
        """What a writer put into a mark. Its lists and objects are new, so they are not entered."""
        if type(part) is list:
            return self._items(part, depth)
        return self._fields(part, depth) if type(part) is dict else self.lower(part, depth + 1)

    def _named(self, value: dict[Any, Any]) -> bool:
        """Whether JSON's objects can hold it: all keys are texts, and none looks like a mark."""
        if set(map(type, value)) - {str} or any(key[:1] == "$" for key in value):
            return False
        return not self._careful or all(map(_sound, value))

    def _pickle(self, value: object) -> object:
        if not self._pickles or not isinstance(value, _ALONE):
            raise _Whole
        try:
            return write_pickle(value)
        except Exception:
            raise _Whole from None


def lift(value: Any, *, trusted: bool) -> object:
    """The value that `lower` was given. Raises `BadMessage` for marks that are malformed or may not be trusted."""
    kind = type(value)
    if kind is list:
        return [lift(item, trusted=trusted) if type(item) in (list, dict) else item for item in value]
    if kind is not dict:
        return value
    fields = {key: lift(item, trusted=trusted) for key, item in value.items()}
    marks = [key for key in value if key[:1] == "$"]
    return _read(marks, fields, trusted) if marks else fields


def _read(marks: list[str], fields: dict[str, object], trusted: bool) -> object:
    mark = marks[0]
    reader = (_ALL_READERS if trusted else _READERS).get(mark)
    if reader is None or len(marks) > 1:
        if mark in TRUSTED_READERS:
            raise BadMessage(
                f"{mark!r} stands in an unsigned message, where only plain values may; sign it (`oche key`)"
            )
        raise BadMessage(f"{' '.join(marks)[:80]!r} is no mark that this oche knows; upgrade the older side")
    payload = fields.pop(mark)
    try:
        return reader(payload, **fields)
    except WrongCode:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"[:300]
        raise BadMessage(f"a {mark!r} cannot be read here: {reason}; both sides need the same modules") from error


def _flat(items: Iterable[object]) -> bool:
    """Whether all items are plain, so that they need no look one by one."""
    kinds = set(map(type, items))
    return kinds <= PLAIN and (float not in kinds or all(isfinite(x) for x in items if type(x) is float))


def _sound(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _culprit(value: object, pickles: bool) -> tuple[list[str], object]:
    """The way to the innermost part that cannot go, and that part. Slow, and only for the message."""
    steps: list[str] = []
    while len(steps) < 20:
        for step, part in _parts(value):
            try:
                _write(part, pickles, careful=True)
            except Exception:
                steps.append(step)
                value = part
                break
        else:
            break
    return steps, value


def _parts(value: object) -> Iterable[tuple[str, object]]:
    if isinstance(value, dict):
        yield from ((f"key {short(key)}", item) for key, item in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"item {place}", item) for place, item in enumerate(value))
    elif not isinstance(value, (type, FunctionType)) and isinstance(getattr(value, "__dict__", None), dict):
        yield from ((f"attribute {name!r}", item) for name, item in vars(value).items())


def _reason(part: object, error: Exception) -> str:
    try:
        write_pickle(part)
    except Exception as own:
        error = own
    return clean(f"{type(error).__name__}: {error}")[:300]
