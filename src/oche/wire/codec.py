"""Python values to readable JSON and back, exactly: the arguments of calls, and the values of results.

What JSON holds exactly stays as it is: null, true and false, integers, finite floats, texts, lists, and objects
whose keys are texts that do not begin with "$". Anything else is a *mark*: an object with one key that begins with
"$", which says how to read it, and for some marks further keys.

| Python                         | JSON                                                                   |
| ------------------------------ | ---------------------------------------------------------------------- |
| nan, inf, -inf                 | `{"$float": "nan"}`                                                    |
| int of more than 2048 bits     | `{"$int": "-0x1f..."}`: hexadecimal                                    |
| str with a lone surrogate      | `{"$str": "caf\\udce9"}`: the surrogate as `\\udxxx`, backslashes doubled  |
| tuple, set, frozenset          | `{"$tuple": [...]}`, `{"$set": [...]}`, `{"$frozenset": [...]}`           |
| dict with other keys           | `{"$dict": [[key, value], ...]}`                                       |
| bytes, bytearray               | `{"$bytes": "<base64>"}`, `{"$bytearray": "<base64>"}`                 |
| complex                        | `{"$complex": [real, imaginary]}`                                      |
| Decimal                        | `{"$decimal": "1.50"}`                                                 |
| Fraction                       | `{"$fraction": [numerator, denominator]}`                              |
| range, slice                   | `{"$range": [start, stop, step]}`, `{"$slice": [start, stop, step]}`   |
| datetime, time                 | `{"$datetime": "<ISO 8601>", "fold": 1}`, `{"$time": ...}`; fold 0 is left out |
| date                           | `{"$date": "2026-11-21"}`                                              |
| timedelta                      | `{"$timedelta": [days, seconds, microseconds]}`                        |
| UUID                           | `{"$uuid": "<36 characters>"}`                                         |
| Path and its pure kin          | `{"$path": "/a/b", "class": "PosixPath"}`                              |
| scalar of numpy                | `{"$numpy": dtype, "value": 1.5}`, or `"data": "<base64>"`             |
| array of numpy                 | `{"$ndarray": dtype, "shape": [2, 3], "data": [...] or "<base64>"}`    |
| *in signed messages only*      |                                                                        |
| datetime in a named zone       | `{"$zoned": "<ISO 8601>", "zone": "Europe/Berlin", "fold": 1}`         |
| member of an enum              | `{"$enum": "module:Class", "name": "RED"}`                             |
| namedtuple                     | `{"$namedtuple": "module:Class", "values": [...]}`                     |
| dataclass                      | `{"$dataclass": "module:Class", "fields": {...}}`                      |
| anything else                  | `{"$pickle": "<base64>", "repr": "<for people>"}`                      |

A dtype is a name ("float64"), numpy's code (">i4", "<M8[ns]"), `[dtype, shape]` for a sub-array, or for records
`{"names": [...], "formats": [dtype, ...], "offsets": [...], "itemsize": n, "aligned": false}`. Data stand in C order;
base64 holds the items' own bytes. A scalar may also be of "str", with a value, or of "bytes", with data.

Objects that occur twice in one argument or result, or in themselves, make that argument or result one pickle, so
that it comes back with the same shape. Nothing is shared between two arguments. Inside a pickle a value is as exact
as its own pickling: there numpy drops the zeros that end its texts and the byte order of its times, and makes a
longlong an int64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import msgspec

from oche.errors import BadMessage
from oche.wire.values import PLAIN, lift, lower

_encode = msgspec.json.Encoder().encode
_ROWS = frozenset({list, tuple})


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One call that has keyword arguments, as it is decoded."""

    args: list[Any] = []
    kwargs: dict[str, Any] = {}


_decode_calls = msgspec.json.Decoder(list[list[Any] | Call]).decode
_decode_values = msgspec.json.Decoder(list[Any]).decode


def encode_args(calls: Sequence[Sequence[object]], *, pickles: bool = True) -> bytes:
    """JSON array of calls, each an array of positional arguments.

    Raises `Unsendable` for what cannot travel; without `pickles`, that is all that only a signed message may hold.
    """
    if set(map(type, calls)) <= _ROWS:
        data = _encode_plain(calls, set(map(type, chain.from_iterable(calls))))
        if data is not None:
            return data

    def lowered(careful: bool) -> object:
        return [
            [
                lower(arg, pickles=pickles, careful=careful, place=f"call {number}, argument {place}")
                for place, arg in enumerate(call, 1)
            ]
            for number, call in enumerate(calls, 1)
        ]

    return _encode_lowered(lowered)


def encode_call(args: tuple[object, ...], kwargs: dict[str, object], *, pickles: bool = True) -> bytes:
    """One call: `[...]`, or `{"args": [...], "kwargs": {...}}` if there are keyword arguments.

    Raises `Unsendable` as `encode_args` does.
    """
    kinds = set(map(type, args))
    if not kwargs:
        data = _encode_plain(args, kinds)
        if data is not None:
            return data
    elif set(map(type, kwargs)) == {str}:
        data = _encode_plain({"args": args, "kwargs": kwargs}, kinds.union(map(type, kwargs.values())))
        if data is not None and b'"$' not in data:  # a name that looks like a mark
            return data

    def lowered(careful: bool) -> object:
        positional = [
            lower(arg, pickles=pickles, careful=careful, place=f"argument {place}") for place, arg in enumerate(args, 1)
        ]
        if not kwargs:
            return positional
        named = [
            [
                lower(key, pickles=pickles, careful=careful, place="name of an argument"),
                lower(value, pickles=pickles, careful=careful, place=f"argument {key!r}"),
            ]
            for key, value in kwargs.items()
        ]
        simple = all(type(key) is str and key[:1] != "$" for key, _ in named)
        return {"args": positional, "kwargs": dict(named) if simple else {"$dict": named}}  # type: ignore[arg-type]

    return _encode_lowered(lowered)


def decode_calls(data: bytes | msgspec.Raw, *, trusted: bool) -> list[list[Any] | Call]:
    """The calls; one of positional arguments only is their list.

    Raises `BadMessage` for anything malformed, and unless `trusted` for marks that need a valid signature.
    """
    data = bytes(data)
    try:
        calls = _decode_calls(data)
        if _unmarked(data):
            return calls
        return [_lift_call(call, trusted) for call in calls]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _bad("calls", data, error) from error


def encode_values(values: Sequence[object], *, pickles: bool = True) -> bytes:
    """JSON array of the values. Raises `Unsendable` as `encode_args` does."""
    if type(values) in _ROWS:
        data = _encode_plain(values, set(map(type, values)))
        if data is not None:
            return data
    return _encode_lowered(
        lambda careful: [
            lower(value, pickles=pickles, careful=careful, place=f"value {place}")
            for place, value in enumerate(values, 1)
        ]
    )


def decode_values(data: bytes | msgspec.Raw, *, trusted: bool) -> list[Any]:
    """The values. Raises `BadMessage` as `decode_calls` does."""
    data = bytes(data)
    try:
        values = _decode_values(data)
        return values if _unmarked(data) else _lift_list(values, trusted)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _bad("values", data, error) from error


def _encode_plain(rows: object, kinds: set[type]) -> bytes | None:
    """JSON by msgspec alone; None where that would not be exact."""
    if not kinds <= PLAIN:
        return None
    try:
        data = _encode(rows)
    except ValueError:  # a lone surrogate, or an integer of many thousand digits
        return None
    # msgspec writes nan and infinities as null.
    return None if float in kinds and b"null" in data else data


def _encode_lowered(lowered: Callable[[bool], object]) -> bytes:
    try:
        return _encode(lowered(False))
    except ValueError:
        return _encode(lowered(True))


def _unmarked(data: bytes) -> bool:
    return b'"$' not in data and b"\\u0024" not in data


def _lift_list(items: list[Any], trusted: bool) -> list[Any]:
    return [lift(item, trusted=trusted) if type(item) in (list, dict) else item for item in items]


def _lift_call(call: list[Any] | Call, trusted: bool) -> list[Any] | Call:
    if isinstance(call, list):
        return _lift_list(call, trusted)
    kwargs = lift(call.kwargs, trusted=trusted)
    if not isinstance(kwargs, dict) or not all(type(key) is str for key in kwargs):
        raise BadMessage("keyword arguments must have texts as names")
    return Call(_lift_list(call.args, trusted), kwargs)


def _bad(what: str, data: bytes, error: Exception) -> BadMessage:
    if isinstance(error, RecursionError):
        return BadMessage(f"not {what}: nested too deeply ({len(data)} bytes)")
    return BadMessage(f"not {what}: {error}; they begin with {data[:60]!r}")
