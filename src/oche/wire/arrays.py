"""Marks for numpy's scalars and arrays, bit by bit. Numpy is imported only when a mark asks for it."""

from __future__ import annotations

import math
import re
import sys
from typing import TYPE_CHECKING, Any

from oche.wire.kinds import Mark, expect
from oche.wire.pickles import clean, from_text, to_text

if TYPE_CHECKING:
    import numpy as np

#: Arrays of up to this many plain numbers are written as a list to be read by people.
_READABLE = 64
#: Numpy's own limit; no more are multiplied.
_MOST_SIDES = 64
#: Types in a list of data, by the dtype's kind.
_ITEMS: dict[str, frozenset[type]] = {
    "b": frozenset({bool}),
    "i": frozenset({int}),
    "u": frozenset({int}),
    "f": frozenset({int, float}),
}
_SIMPLE = re.compile(r"[<>|=]?(?:[?biufcSUV]\d{1,9}|[mM]8(?:\[\d{0,9}[a-zA-Zμ]{1,7}\])?)")


def write_array(value: object) -> Mark | None:
    """The mark of a numpy array or scalar; None for anything else, and for what only pickle keeps exactly."""
    np = sys.modules.get("numpy")
    if np is None or not isinstance(value, (np.ndarray, np.generic)):
        return None
    # Texts lose trailing zeros on the way through an array, through str(), and in numpy's own pickles.
    if type(value) is np.str_:
        return {"$numpy": "str", "value": "".join(value)}
    if type(value) is np.bytes_:
        return {"$numpy": "bytes", "data": to_text(value)}
    kind = value.dtype
    described = _describe(kind)
    if described is None or kind.itemsize == 0:
        return None
    if isinstance(value, np.generic):
        if type(value) is not kind.type or kind.kind not in "biufcmM":
            return None
        plain = value.item() if _listable(kind) else None
        if plain is None or not math.isfinite(plain):
            return {"$numpy": described, "data": value.tobytes()}
        return {"$numpy": described, "value": plain}
    if type(value) is not np.ndarray:
        return None
    mark: Mark = {"$ndarray": described, "shape": list(value.shape)}
    if value.size <= _READABLE and _listable(kind) and bool(np.isfinite(value).all()):
        return {**mark, "data": value.ravel().tolist()}
    return {**mark, "data": value.tobytes()}  # which JSON has as base64


def read_array(described: object, /, shape: object, data: object) -> np.ndarray[Any, Any]:
    """A writable C-ordered array. Allocates nothing that is not in the message."""
    import numpy as np

    kind = _undescribe(described)
    sides = [expect(side, int) for side in expect(shape, list)]
    size = math.prod(sides[:_MOST_SIDES])
    if min(sides, default=0) < 0 or kind.itemsize == 0:
        raise ValueError("an array has no negative side and no empty items")
    if isinstance(data, str):
        raw = bytearray(from_text(data))
        if len(raw) != size * kind.itemsize:
            raise ValueError(f"{len(raw)} bytes for {size} items of {kind.itemsize}")
        return np.ndarray(sides, kind, buffer=raw)
    items = expect(data, list)
    if len(items) != size or not set(map(type, items)) <= _ITEMS.get(kind.kind, frozenset()):
        raise ValueError(f"{len(items)} items for an array of {size}, or items that are not of its dtype")
    return np.array(items, kind).reshape(sides)


def read_scalar(described: object, /, value: object = None, data: object = None) -> object:
    """One item of that dtype; `value` is a plain number or text, `data` its bytes as base64."""
    import numpy as np

    if described == "str":
        return np.str_(expect(value, str))
    if described == "bytes":
        return np.bytes_(from_text(expect(data, str)))
    array = read_array(described, [], [value] if data is None else expect(data, str))
    if array.dtype.kind not in "biufcmM":
        raise ValueError(f"no scalar of dtype {array.dtype}")
    return array[()]


def _listable(kind: np.dtype[Any]) -> bool:
    return kind.kind in "biuf" and kind.itemsize <= 8


def _describe(kind: np.dtype[Any]) -> object:
    """JSON for a dtype, or None where JSON would not give back the very same one."""
    import numpy as np

    described = _outline(kind)
    if described is None:
        return None
    try:
        again = _undescribe(described)
    except (TypeError, ValueError):
        return None
    same = again == kind and again.num == kind.num and again.isalignedstruct == kind.isalignedstruct
    return described if same and np.dtype(again).metadata == kind.metadata else None


def _outline(kind: np.dtype[Any]) -> object:
    import numpy as np

    if kind.hasobject or kind.metadata:
        return None
    if kind.subdtype is not None:
        base, shape = kind.subdtype
        return [_outline(base), list(shape)]
    if kind.fields is None or kind.names is None:
        if kind.char in "qQ" and kind.num != np.dtype(kind.name).num:  # as wide as int64, and another type
            return {"q": "longlong", "Q": "ulonglong"}[kind.char] if kind.isnative else None
        return kind.name if kind.kind in "biuf" and kind.isnative and kind.itemsize <= 8 else kind.str
    if any(clean(name) != name for name in kind.names):
        return None
    fields = [kind.fields[name] for name in kind.names]
    return {
        "names": list(kind.names),
        "formats": [_outline(field[0]) for field in fields],
        "offsets": [field[1] for field in fields],
        "itemsize": kind.itemsize,
        "aligned": kind.isalignedstruct,
    }


def _undescribe(described: object) -> np.dtype[Any]:
    import numpy as np

    if isinstance(described, str):
        if described in _NAMES or _SIMPLE.fullmatch(described):
            return np.dtype(described)
        raise ValueError(f"{described[:40]!r} is not a dtype that travels")
    if isinstance(described, list):
        base, shape = described
        return np.dtype((_undescribe(base), tuple(expect(side, int) for side in expect(shape, list))))
    fields = dict(expect(described, dict))
    fields["formats"] = [_undescribe(form) for form in expect(fields["formats"], list)]
    if set(fields) != {"names", "formats", "offsets", "itemsize", "aligned"}:
        raise ValueError("a record's dtype has names, formats, offsets, itemsize and aligned")
    aligned = expect(fields.pop("aligned"), bool)
    kind: np.dtype[Any] = np.dtype(fields, align=aligned)  # type: ignore[call-overload]
    return kind


_NAMES = frozenset({"bool", "longlong", "ulonglong", "float16", "float32", "float64"}) | frozenset(
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
)
