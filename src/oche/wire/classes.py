"""Marks that name a class, and pickles. Reading them imports modules, so only signed messages may hold them."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from types import FunctionType
from typing import Any

from oche.wire.fingerprint import check_code, fingerprint
from oche.wire.kinds import Mark, expect, read_zoned
from oche.wire.pickles import from_text, loads, pickled, short, to_text
from oche.wire.symbols import find, symbol


def write_class(value: object) -> Mark | None:
    """The mark of an enum's member, a dataclass or a namedtuple that can be rebuilt from its parts, else None.

    And of a function that can be imported: it goes by name, with the fingerprint of its code, as a task does.
    """
    kind: type[Any] = type(value)
    if kind is FunctionType:
        return {"$function": symbol(value), "fingerprint": fingerprint(value)} if symbol(value) else None
    if isinstance(value, enum.Enum):
        name = value._name_ if symbol(kind) else None
        # Flags combine members into nameless ones.
        return {"$enum": symbol(kind), "name": name} if name and kind.__members__.get(name) is value else None
    base: type[Any] = object
    if kind.__reduce_ex__ is not base.__reduce_ex__ or kind.__reduce__ is not base.__reduce__:
        return None
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        whole = len(value) == len(kind._fields) and not getattr(value, "__dict__", None)
        return {"$namedtuple": symbol(kind), "values": list(value)} if whole and symbol(kind) else None
    if dataclasses.is_dataclass(kind):
        state = _state(value)
        return {"$dataclass": symbol(kind), "fields": state} if state is not None and symbol(kind) else None
    return None


def write_pickle(value: object) -> Mark:
    """Raises whatever pickling raises."""
    return {"$pickle": to_text(pickled(value)), "repr": short(value)}


def _state(value: Any) -> dict[str, Any] | None:
    """The fields of a dataclass's object, if they are all that it has, and nothing odd is done to pickle it."""
    kind = type(value)
    base: type[Any] = object
    own = kind.__getstate__
    plain = own is base.__getstate__ and not hasattr(kind, "__setstate__")
    frozen_slots = getattr(own, "__module__", "") == "dataclasses"
    # A class that derives from a C type has state that no field shows.
    if kind.__new__ is not base.__new__ or hasattr(kind, "__getnewargs__") or not (plain or frozen_slots):
        return None
    names = [field.name for field in dataclasses.fields(value)]
    slots = {name for base in kind.__mro__ for name in _slots(base) if hasattr(value, name)}
    held = {*getattr(value, "__dict__", ()), *slots} - {"__weakref__", "__dict__"}
    return {name: getattr(value, name) for name in names} if held == set(names) else None


def _slots(base: type) -> tuple[str, ...]:
    slots = base.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _read_enum(name: object, /, **rest: object) -> object:
    members = _class(name, enum.Enum).__members__
    if set(rest) != {"name"}:
        raise ValueError("an enum's member has a name and nothing else")
    return members[expect(rest["name"], str)]


def _read_namedtuple(name: object, /, values: object) -> object:
    kind = _class(name, tuple)
    items = expect(values, list)
    if len(kind._fields) != len(items):
        raise ValueError(f"{name} has {len(kind._fields)} fields here, and {len(items)} values came")
    made: object = tuple.__new__(kind, items)
    return made


def _read_dataclass(name: object, /, fields: object) -> object:
    """Sets the fields past `__init__` and `frozen`, as unpickling does."""
    kind = _class(name, object)
    if {field.name for field in dataclasses.fields(kind)} != set(expect(fields, dict)):
        raise ValueError(f"{name} has other fields here")
    made = object.__new__(kind)
    for field, value in expect(fields, dict).items():
        object.__setattr__(made, field, value)
    return made


def _read_function(name: object, /, fingerprint: object) -> object:
    function = find(expect(name, str))
    if not isinstance(function, FunctionType):
        raise TypeError(f"{name} is no function here")
    check_code(expect(name, str), expect(fingerprint, str), function)
    return function


def _read_pickle(text: object, /, **rest: str) -> object:
    if not set(rest) <= {"repr"}:
        raise ValueError("a pickle has a repr and nothing else")
    return loads(from_text(expect(text, str)))


def _class(name: object, base: type) -> type[Any]:
    kind = find(expect(name, str))
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise TypeError(f"{name} is no class of that sort")
    return kind


#: By mark; for signed messages only.
TRUSTED_READERS: dict[str, Callable[..., object]] = {
    "$enum": _read_enum,
    "$namedtuple": _read_namedtuple,
    "$dataclass": _read_dataclass,
    "$function": _read_function,
    "$zoned": read_zoned,
    "$pickle": _read_pickle,
}
