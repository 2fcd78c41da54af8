"""Marks for the values of the standard library: how each type is written, and how it is read.

A writer turns a value of exactly its type into a mark: an object whose first key is "$name". A reader gets
what stood under that key, and the other keys as keywords; it raises whatever it likes for what is malformed.
Nothing here imports a module or runs code that came with the message.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, TypeVar
from uuid import UUID, SafeUUID

from oche.wire.pickles import from_text, to_text

Mark = dict[str, Any]
T = TypeVar("T")
#: Integers above this many bits are written in hexadecimal: Python limits decimal text, in both directions.
LONG = 2048
_ESCAPE = re.compile(r"\\(?:\\|u(d[89a-f][0-9a-f]{2}))")
_PATHS = {kind.__name__: kind for kind in (PosixPath, WindowsPath, PurePosixPath, PureWindowsPath)}


def write_float(value: float) -> Mark:
    """The mark of a float that JSON has no number for."""
    return {"$float": repr(value)}


def write_int(value: int) -> Mark:
    """The mark of an integer too long for decimal text."""
    return {"$int": hex(value)}


def write_str(value: str) -> Mark:
    r"""A backslash is doubled and a lone surrogate is `\udxxx`, as in a file name that is not UTF-8."""
    return {"$str": value.replace("\\", "\\\\").encode("utf-8", "backslashreplace").decode()}


def _write_datetime(value: datetime) -> Mark | None:
    return _fold({"$datetime": value.isoformat()}, value) if _fixed(value) else _zoned(value)


def _write_time(value: time) -> Mark | None:
    return _fold({"$time": value.isoformat()}, value) if _fixed(value) else None


def _fixed(value: datetime | time) -> bool:
    """Whether ISO 8601 tells all about its zone: not a name, and Python misreads parts of a second."""
    zone = value.tzinfo
    if type(zone) is not timezone:
        return zone is None
    named = len(zone.__getinitargs__()) > 1  # type: ignore[attr-defined]
    return not named and not zone.utcoffset(None).microseconds


def _fold(mark: Mark, value: datetime | time) -> Mark:
    return {**mark, "fold": 1} if value.fold else mark


def _zoned(value: datetime) -> Mark | None:
    from zoneinfo import ZoneInfo

    zone = value.tzinfo
    if type(zone) is not ZoneInfo or not zone.key or ZoneInfo(zone.key) is not zone:
        return None
    return _fold({"$zoned": value.replace(tzinfo=None).isoformat(), "zone": zone.key}, value)


def _write_path(value: Any) -> Mark:
    return {"$path": str(value), "class": type(value).__name__}


def _write_uuid(value: UUID) -> Mark | None:
    return {"$uuid": str(value)} if value.is_safe is SafeUUID.unknown else None


#: By exact type. A writer that returns None leaves the value to pickle.
WRITERS: dict[type, Callable[[Any], Mark | None]] = {
    tuple: lambda v: {"$tuple": list(v)},
    set: lambda v: {"$set": list(v)},
    frozenset: lambda v: {"$frozenset": list(v)},
    bytes: lambda v: {"$bytes": to_text(v)},
    bytearray: lambda v: {"$bytearray": to_text(v)},
    complex: lambda v: {"$complex": [v.real, v.imag]},
    Decimal: lambda v: {"$decimal": str(v)},
    Fraction: lambda v: {"$fraction": [v.numerator, v.denominator]},
    range: lambda v: {"$range": [v.start, v.stop, v.step]},
    slice: lambda v: {"$slice": [v.start, v.stop, v.step]},
    datetime: _write_datetime,
    date: lambda v: {"$date": v.isoformat()},
    time: _write_time,
    timedelta: lambda v: {"$timedelta": [v.days, v.seconds, v.microseconds]},
    UUID: _write_uuid,
    **dict.fromkeys(_PATHS.values(), _write_path),
}


def expect(value: object, kind: type[T]) -> T:
    """The value, if it is of exactly this type; else raises `TypeError`."""
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def integers(value: object, count: int) -> list[int]:
    """The value, if it is a list of `count` integers; else raises `TypeError` or `ValueError`."""
    items = expect(value, list)
    if len(items) != count:
        raise ValueError(f"expected {count} integers, got {len(items)}")
    return [expect(item, int) for item in items]


def _read_int(text: object, /) -> int:
    if not re.fullmatch(r"-?0x[0-9a-f]+", digits := expect(text, str)):
        raise ValueError(f"expected hexadecimal digits, got {digits[:20]!r}")
    return int(digits, 16)


def _read_float(text: object, /) -> float:
    return {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}[expect(text, str)]


def _read_str(text: object, /) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else "\\", expect(text, str))


def _read_complex(parts: object, /) -> complex:
    real, imaginary = expect(parts, list)
    return complex(expect(real, float), expect(imaginary, float))


def _read_dict(pairs: object, /) -> dict[Any, Any]:
    return dict(expect(pair, list) for pair in expect(pairs, list))


def _read_slice(parts: object, /) -> slice:
    start, stop, step = expect(parts, list)
    return slice(start, stop, step)


def _read_timedelta(parts: object, /) -> timedelta:
    days, seconds, microseconds = integers(parts, 3)
    return timedelta(days, seconds, microseconds)


def _read_path(text: object, /, **rest: str) -> object:
    if set(rest) != {"class"}:
        raise ValueError("a path has a class and nothing else")
    return _PATHS[rest["class"]](expect(text, str))


def read_zoned(text: object, /, zone: str, fold: int = 0) -> datetime:
    """A time in a named zone; the zone may come from the package tzdata, so this is for trusted messages only."""
    from zoneinfo import ZoneInfo

    return datetime.fromisoformat(expect(text, str)).replace(tzinfo=ZoneInfo(zone), fold=fold)


#: By mark.
READERS: dict[str, Callable[..., object]] = {
    "$int": _read_int,
    "$float": _read_float,
    "$str": _read_str,
    "$dict": _read_dict,
    "$tuple": lambda v, /: tuple(expect(v, list)),
    "$set": lambda v, /: set(expect(v, list)),
    "$frozenset": lambda v, /: frozenset(expect(v, list)),
    "$bytes": lambda v, /: from_text(expect(v, str)),
    "$bytearray": lambda v, /: bytearray(from_text(expect(v, str))),
    "$complex": _read_complex,
    "$decimal": lambda v, /: Decimal(expect(v, str)),
    "$fraction": lambda v, /: Fraction(*integers(v, 2)),
    "$range": lambda v, /: range(*integers(v, 3)),
    "$slice": _read_slice,
    "$datetime": lambda v, /, fold=0: datetime.fromisoformat(expect(v, str)).replace(fold=fold),
    "$date": lambda v, /: date.fromisoformat(expect(v, str)),
    "$time": lambda v, /, fold=0: time.fromisoformat(expect(v, str)).replace(fold=fold),
    "$timedelta": _read_timedelta,
    "$uuid": lambda v, /: UUID(expect(v, str)),
    "$path": _read_path,
}
