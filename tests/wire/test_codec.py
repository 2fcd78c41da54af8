"""Values come back as exactly what they were, and nothing that arrives does harm."""

from __future__ import annotations

import base64
import dataclasses
import enum
import json
import math
import os
import pickle
import struct
import subprocess
import sys
import threading
from collections import OrderedDict, deque, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from naming import plain
from oche.errors import BadMessage, Unsendable
from oche.wire.classes import TRUSTED_READERS
from oche.wire.codec import Call, decode_calls, decode_values, encode_args, encode_call, encode_values
from oche.wire.kinds import READERS


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


class Level(enum.IntEnum):
    LOW = 1


class Mode(enum.Flag):
    R = 1
    W = 2


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: Any
    built: list[int] = dataclasses.field(default_factory=list, compare=False)


@dataclasses.dataclass
class Guarded:
    """Its initialiser must not run when it arrives."""

    x: int

    def __post_init__(self) -> None:
        self.x += 1


@dataclasses.dataclass
class Listed(list):  # type: ignore[type-arg]
    x: int = 0


class Pair(NamedTuple):
    a: Any
    b: Any


Loose = namedtuple("Loose", "a b")


class Text(str):
    pass


class Whole(int):
    pass


class Plain:
    """A class that only pickle knows."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and same(self.value, other.value)

    __hash__ = None  # type: ignore[assignment]


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit, types included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float) and not isinstance(a, np.generic):
        return (math.isnan(a) and math.isnan(b)) or struct.pack("d", a) == struct.pack("d", b)
    if type(a) is complex:
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, np.ndarray) and a.dtype.hasobject:
        return same((a.shape, a.tolist()), (b.shape, b.tolist()))
    if isinstance(a, np.str_ | np.bytes_):
        return list(a) == list(b)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, np.generic):
        return a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return same(list(a), list(b)) and same(list(a.values()), list(b.values()))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (set, frozenset)):
        return len(a) == len(b) and all(any(same(x, y) for y in b) for x in a)
    if isinstance(a, Decimal):
        return a.as_tuple() == b.as_tuple()
    if isinstance(a, (datetime, time)):
        return a == b and a.tzinfo == b.tzinfo and a.fold == b.fold
    if isinstance(a, slice):
        return same((a.start, a.stop, a.step), (b.start, b.stop, b.step))
    if isinstance(a, range):
        return same((a.start, a.stop, a.step), (b.start, b.stop, b.step))
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    return bool(a == b)


def titled(kind: np.dtype[Any]) -> bool:
    if kind.subdtype is not None:
        return titled(kind.subdtype[0])
    return bool(kind.fields) and (len(kind.fields) > len(kind.names) or any(titled(f[0]) for f in kind.fields.values()))


def there_and_back(value: Any, *, pickles: bool = True) -> Any:
    data = encode_values([value], pickles=pickles)
    json.loads(data)
    (back,) = decode_values(data, trusted=pickles)
    return back


def pickled(value: Any) -> bool:
    return b'"$pickle"' in encode_values([value])


texts = st.text(st.characters(exclude_categories=()), max_size=8) | st.sampled_from(["$pickle", "", "\\udc80", "null"])
zones = st.none() | st.integers(-86399, 86399).map(lambda seconds: timezone(timedelta(seconds=seconds)))
hashable = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**3000), 2**3000)
    | st.floats()
    | texts
    | st.binary(max_size=20)
    | st.complex_numbers()
    | st.decimals(allow_nan=False)
    | st.just(Decimal("-0E+7"))
    | st.fractions()
    | st.datetimes(timezones=zones)
    | st.times(timezones=zones)
    | st.dates()
    | st.timedeltas()
    | st.uuids()
    | st.sampled_from([Path("/a/b"), PurePosixPath("a"), PureWindowsPath("c:/x"), PurePosixPath("\udce9")])
    | st.builds(range, st.integers(), st.integers(), st.integers(1, 9))
)
plain_dtypes = (
    npst.boolean_dtypes()
    | npst.integer_dtypes(endianness="?")
    | npst.unsigned_integer_dtypes(endianness="?")
    | npst.floating_dtypes(endianness="?", sizes=(16, 32, 64))
    | npst.complex_number_dtypes(endianness="?")
    | npst.datetime64_dtypes(endianness="?")
    | npst.timedelta64_dtypes(endianness="?")
)
dtypes = plain_dtypes | npst.byte_string_dtypes(min_len=1) | npst.unicode_string_dtypes(min_len=1)
dtypes = dtypes | npst.nested_dtypes(dtypes).filter(lambda kind: not titled(kind))  # titles go by pickle
arrays = dtypes.flatmap(lambda kind: npst.arrays(kind, npst.array_shapes(min_dims=0, min_side=0, max_side=4)))
leaves = hashable | st.binary(max_size=9).map(bytearray) | arrays | plain_dtypes.flatmap(lambda k: npst.from_dtype(k))
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(hashable.filter(lambda k: k == k), inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
        | st.frozensets(hashable, max_size=4)
        | st.sets(hashable, max_size=4)
        | st.builds(slice, inner, inner, inner)
    ),
    max_leaves=12,
)


@given(values)
def test_values_of_python_and_numpy_come_back_exactly_and_unsigned(value: Any) -> None:
    assert same(there_and_back(value), value)
    assert same(there_and_back(value, pickles=False), value)


def of_classes(parts: st.SearchStrategy[Any], *kinds: type) -> st.SearchStrategy[Any]:
    members = st.sampled_from([Colour.RED, Level.LOW, Mode.R | Mode.W, Text("a"), Whole(3), np.str_("a")])
    return st.recursive(
        parts | members,
        lambda inner: (
            st.one_of(st.builds(kind, inner, inner) for kind in (Point, Pair, Loose))
            | st.one_of(st.builds(kind, inner) for kind in (Frozen, *kinds))
            | st.lists(inner, max_size=3)
        ),
        max_leaves=6,
    )


# Numpy's own pickles forget the byte order of its times, so arrays stay out of those.
@given(of_classes(leaves) | of_classes(hashable, Plain))
def test_values_of_classes_come_back_exactly(value: Any) -> None:
    assert same(there_and_back(value), value)


@given(st.lists(st.tuples(values, values), max_size=3))
def test_calls_come_back_exactly(calls: list[tuple[Any, Any]]) -> None:
    assert same(decode_calls(encode_args(calls), trusted=True), [list(call) for call in calls])


@given(st.lists(values, max_size=3), st.dictionaries(texts, values, max_size=3))
def test_a_call_with_keywords_comes_back_exactly(args: list[Any], kwargs: dict[str, Any]) -> None:
    (call,) = decode_calls(b"[" + encode_call(tuple(args), kwargs) + b"]", trusted=False)
    if kwargs:
        assert isinstance(call, Call)
        assert same((call.args, call.kwargs), (args, kwargs))
    else:
        assert same(call, args)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (2**70, str(2**70)),
        (-0.0, "-0.0"),
        (1e300, "1e300"),
        (math.inf, '{"$float":"inf"}'),
        ((1, "a"), '{"$tuple":[1,"a"]}'),
        ({"a": [1, {"b": None}]}, '{"a":[1,{"b":null}]}'),
        ({1: 2}, '{"$dict":[[1,2]]}'),
        ({"$a": 2}, '{"$dict":[["$a",2]]}'),
        ({3}, '{"$set":[3]}'),
        (b"hi", '{"$bytes":"aGk="}'),
        (1 + 2j, '{"$complex":[1.0,2.0]}'),
        (Decimal("1.50"), '{"$decimal":"1.50"}'),
        (Fraction(1, 3), '{"$fraction":[1,3]}'),
        (range(5), '{"$range":[0,5,1]}'),
        (datetime(2026, 11, 21, 8, tzinfo=UTC), '{"$datetime":"2026-11-21T08:00:00+00:00"}'),
        (datetime(2026, 10, 25, 2, fold=1), '{"$datetime":"2026-10-25T02:00:00","fold":1}'),
        (
            datetime(2026, 11, 21, 8, tzinfo=ZoneInfo("Etc/UTC")),
            '{"$zoned":"2026-11-21T08:00:00","zone":"Etc/UTC"}',
        ),
        (date(2026, 11, 21), '{"$date":"2026-11-21"}'),
        (timedelta(1, 2, 3), '{"$timedelta":[1,2,3]}'),
        (UUID(int=7), '{"$uuid":"00000000-0000-0000-0000-000000000007"}'),
        (Path("/a/b"), '{"$path":"/a/b","class":"PosixPath"}'),
        (np.float32(0.5), '{"$numpy":"float32","value":0.5}'),
        (np.array([[1, 2]]), '{"$ndarray":"int64","shape":[1,2],"data":[1,2]}'),
        (np.array([1], ">i2"), '{"$ndarray":">i2","shape":[1],"data":[1]}'),
        (Colour.RED, f'{{"$enum":"{__name__}:Colour","name":"RED"}}'),
        (Level.LOW, f'{{"$enum":"{__name__}:Level","name":"LOW"}}'),
        (Pair(1, 2), f'{{"$namedtuple":"{__name__}:Pair","values":[1,2]}}'),
        (Point(1, 2), f'{{"$dataclass":"{__name__}:Point","fields":{{"x":1,"y":2}}}}'),
        (Frozen(1), f'{{"$dataclass":"{__name__}:Frozen","fields":{{"x":1,"built":[]}}}}'),
    ],
)
def test_each_kind_is_written_so_that_people_can_read_it(value: Any, text: str) -> None:
    assert encode_values([value]).decode() == f"[{text}]"
    assert same(there_and_back(value), value)


def test_long_integers_texts_with_surrogates_and_their_kin_in_any_depth() -> None:
    value = {"n": [10**6000, -(10**6000)], "s": ("\udce9\\", {"\ud800": 1}), "a": [math.nan, None, 1.5]}
    assert same(there_and_back(value, pickles=False), value)
    assert same(
        decode_calls(encode_args([(10**6000,), ("\ud83d\ude00",)]), trusted=False), [[10**6000], ["\ud83d\ude00"]]
    )


def test_true_and_one_stay_apart_on_the_fast_path() -> None:
    assert same(decode_values(encode_values([True, 1, 1.0, None, "1"]), trusted=False), [True, 1, 1.0, None, "1"])


def test_a_null_among_floats_is_not_taken_for_nan() -> None:
    assert same(
        decode_values(encode_values([1.5, None, "null", math.nan]), trusted=True), [1.5, None, "null", math.nan]
    )
    assert same(decode_values(encode_values([1.5, math.inf, math.nan]), trusted=True), [1.5, math.inf, math.nan])


@pytest.mark.parametrize(
    "value",
    [
        Text("a"),
        Whole(1),
        Mode.R | Mode.W,
        np.str_("a\0"),
        np.bytes_(b"a\0"),
        [np.str_("\udce9\0"), "x"],
        np.array([1], np.ulonglong),
        np.void(b"ab\0"),
        np.zeros(1, "i4,f8")[0],
        np.longdouble("0.1"),
        np.longlong(4),
        np.array(["a", None], dtype=object),
        np.zeros(2, dtype=np.dtype("i4", metadata={"unit": "m"})),
        np.zeros((3, 0)),
        np.asfortranarray([[1, 2], [3, 4]]),
        np.ma.masked_array([1, 2], [0, 1]),
        OrderedDict(a=1),
        deque([1, 2]),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1), "home")),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(microseconds=1))),
        np.zeros(2, dtype=[(("title", "a"), "i4")]),
        np.zeros(2, dtype=np.dtype([("a", "i1"), ("b", "f8", (2,))], align=True)),
        time(8, tzinfo=ZoneInfo("Etc/UTC")),
        Plain([1]),
        Guarded(1),
        Listed(3),
        {"deep": [Plain(1), {"k": Plain(2)}]},
        len,
        Plain,
        ...,
    ],
    ids=plain,
)
def test_odd_ones_come_back_as_what_they_were(value: Any) -> None:
    back = there_and_back(value)
    if isinstance(value, np.ma.MaskedArray):
        assert type(back) is type(value)
        assert back.tolist() == value.tolist()
    else:
        assert type(back) is type(value)
        assert same(back, value)


def test_arrays_that_come_back_can_be_written_to() -> None:
    for array in (np.arange(3.0), np.arange(1000.0)):
        back = there_and_back(array)
        back[0] = 7
        assert back[0] == 7


def test_lambdas_and_local_classes_go_by_value() -> None:
    factor = 3

    class Local:
        number = factor

    function, kind = there_and_back([lambda x: x * factor, Local])
    assert function(2) == 6
    assert kind.number == 3


def test_a_pickle_says_what_it_holds() -> None:
    (mark,) = json.loads(encode_values([Plain(1)]))
    assert set(mark) == {"$pickle", "repr"}
    assert mark["repr"].startswith(f"<{__name__}.Plain object")
    assert " at 0x" not in mark["repr"]


def test_an_object_that_stands_in_two_places_is_one_object_afterwards() -> None:
    row: list[Any] = [1]
    point = Point(1)
    for value in ([row, row], {"a": row, "b": (row,)}, [point, point], [Plain(row), row]):
        first, second = there_and_back(value).values() if isinstance(value, dict) else there_and_back(value)
        held = second[0] if isinstance(second, tuple) else second
        assert first is held or first.value is held
    assert not pickled([(1, 2)] * 3)


def test_a_value_that_contains_itself_comes_back_so() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    back = there_and_back(loop)
    assert back[1] is back
    with pytest.raises(Unsendable, match="unsigned"):
        encode_values([loop], pickles=False)


def test_a_ladder_of_shared_parts_does_not_grow_without_bound() -> None:
    value: Any = Frozen(0)
    for _ in range(60):
        value = (value, value)
    assert len(encode_values([value])) < 10_000


def test_nesting_beyond_all_measure_is_refused_and_not_a_crash() -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    for pickles in (True, False):
        with pytest.raises(Unsendable):
            encode_values([value], pickles=pickles)
    while value:  # by hand, lest the destructor recurse
        value = value[0]


@pytest.mark.parametrize(
    ("args", "kwargs", "place"),
    [
        ((1, {"a": threading.Lock()}), {}, "argument 2, key 'a': a _thread.lock "),
        (([0, [Plain(threading.Lock())]],), {}, "argument 1, item 1, item 0, attribute 'value': a _thread.lock "),
        ((), {"q": (x for x in ())}, "argument 'q': a generator "),
    ],
)
def test_what_cannot_travel_is_named_with_its_place(args: Any, kwargs: Any, place: str) -> None:
    with pytest.raises(Unsendable) as caught:
        encode_call(args, kwargs)
    assert str(caught.value).startswith(place)
    assert "inside the task" in str(caught.value)


def test_the_place_in_many_calls() -> None:
    with pytest.raises(Unsendable, match=r"^call 2, argument 1: a _thread\.lock"):
        encode_args([(1,), (threading.Lock(),)])


@pytest.mark.parametrize(
    "value",
    [Colour.RED, Point(1), Pair(1, 2), Plain(1), Text("a"), len, datetime(2026, 1, 1, tzinfo=ZoneInfo("Etc/UTC"))],
)
def test_what_names_code_goes_only_signed(value: Any) -> None:
    with pytest.raises(Unsendable, match="unsigned"):
        encode_values([1, [value]], pickles=False)
    with pytest.raises(BadMessage, match="unsigned"):
        decode_values(encode_values([1, [value]]), trusted=False)


class Trap:
    def __reduce__(self) -> Any:
        return os.mkdir, (str(TRAP),)


TRAP = Path("trap-that-must-not-be-sprung")


def test_an_unsigned_pickle_is_not_even_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bomb = base64.b64encode(pickle.dumps(Trap())).decode()
    for text in (
        f'[{{"$pickle":"{bomb}"}}]',
        f'[{{"a":[{{"$tuple":[{{"$pickle":"{bomb}","repr":""}}]}}]}}]',
        f'[{{"repr":"","$pickle":"{bomb}"}}]',
    ):
        with pytest.raises(BadMessage):
            decode_values(text.encode(), trusted=False)
        with pytest.raises(BadMessage):
            decode_calls(f"[{text}]".encode(), trusted=False)
    # Not a mark once its key is escaped otherwise: the same on both paths.
    with pytest.raises(BadMessage):
        decode_values(f'[{{"\\u0024pickle":"{bomb}"}}]'.encode(), trusted=False)
    assert not TRAP.exists()
    decode_values(f'[{{"$pickle":"{bomb}"}}]'.encode(), trusted=True)
    assert TRAP.exists()  # the trap does spring


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        b"[",
        b"[1]x",
        b"\xff",
        b'["\xff"]',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'[{"$tuple":[' * 5000 + b"]}]" * 5000,
        b'[{"a":' * 5000 + b"1" + b"}]" * 5000,
        b"[" + b"9" * 100_000 + b"]",
        b"[1e999]",
        b'[{"$nothing":1}]',
        b'[{"$tuple":[1],"$set":[1]}]',
        b'[{"$tuple":"abc"}]',
        b'[{"$tuple":{"a":1}}]',
        b'[{"$tuple":[1],"more":1}]',
        b'[{"$set":[[1]]}]',
        b'[{"$dict":[[1]]}]',
        b'[{"$dict":[[[],1]]}]',
        b'[{"$int":"12"}]',
        b'[{"$int":"0x1_0"}]',
        b'[{"$float":"1.5"}]',
        b'[{"$bytes":"!"}]',
        b'[{"$bytes":5}]',
        b'[{"$bytearray":1000000000000}]',
        b'[{"$fraction":[1,0]}]',
        b'[{"$range":[0,1,0]}]',
        b'[{"$timedelta":[1e10,0,0]}]',
        b'[{"$timedelta":[10000000000,0,0]}]',
        b'[{"$datetime":"yesterday"}]',
        b'[{"$datetime":"2026-11-21","fold":7}]',
        b'[{"$path":"a","class":"Path"}]',
        b'[{"$uuid":"x"}]',
        b'[{"$decimal":"x"}]',
        b'[{"$set":[{"$decimal":"sNaN"}]}]',
        b'[{"$ndarray":"float64","shape":[1000000000000],"data":""}]',
        b'[{"$ndarray":"float64","shape":[1000000000000],"data":[]}]',
        b'[{"$ndarray":"float64","shape":[0,1000000000000000000000],"data":[]}]',
        b'[{"$ndarray":"V0","shape":[1000000000000],"data":""}]',
        b'[{"$ndarray":"V999999999","shape":[1],"data":""}]',
        b'[{"$ndarray":"O","shape":[1],"data":"AAAAAAAAAAA="}]',
        b'[{"$ndarray":{"names":["a"],"formats":["O"],"offsets":[0],"itemsize":8,"aligned":false},"shape":[1],"data":"AAAAAAAAAAA="}]',
        b'[{"$ndarray":["int64",[999999999,999999999]],"shape":[1],"data":""}]',
        b'[{"$ndarray":"int8","shape":[-1],"data":[]}]',
        b'[{"$ndarray":"int8","shape":[true],"data":[1]}]',
        b'[{"$ndarray":"int8","shape":[1],"data":[1000]}]',
        b'[{"$ndarray":"int8","shape":[1],"data":["1"]}]',
        b'[{"$ndarray":"int8","shape":[1],"data":[1.5]}]',
        b'[{"$ndarray":"i1,i2","shape":[1],"data":"AAAA"}]',
        b'[{"$ndarray":"int8","shape":' + str([1] * 100).encode() + b',"data":[1]}]',
        b'[{"$numpy":"int8"}]',
        b'[{"$numpy":"int8","value":[1]}]',
        b'[{"$pickle":"AAAA"}]',
        b'[{"$pickle":5}]',
        b'[{"$enum":"os:system","name":"x"}]',
        b'[{"$enum":"no.such.module:X","name":"x"}]',
        b'[{"$dataclass":"os:stat_result","fields":{}}]',
        b'[{"$namedtuple":"builtins:int","values":[]}]',
        b'[{"$zoned":"2026-01-01T00:00:00","zone":"../../etc/passwd"}]',
    ],
    ids=lambda text: text[:40].decode("latin-1"),
)
def test_what_is_malformed_is_a_bad_message(text: bytes, trusted: bool) -> None:
    with pytest.raises(BadMessage):
        decode_values(text, trusted=trusted)
    with pytest.raises(BadMessage):
        decode_calls(b"[" + text + b"]", trusted=trusted)


@pytest.mark.parametrize("text", [b"", b"{}", b"null", b'"a"'])
def test_values_and_calls_are_arrays(text: bytes) -> None:
    for decode in (decode_values, decode_calls):
        with pytest.raises(BadMessage):
            decode(text, trusted=True)


@pytest.mark.parametrize(
    "text", [b"[1]", b'["a"]', b'[{"args":1}]', b'[{"a":[]}]', b'[{"args":[],"kwargs":{"$dict":[[1,2]]}}]']
)
def test_a_call_has_the_form_of_one(text: bytes) -> None:
    with pytest.raises(BadMessage):
        decode_calls(text, trusted=False)


def test_calls_of_other_languages_may_leave_out_either_part() -> None:
    calls = decode_calls(msgspec.Raw(b'[[1],{"args":[2]},{"kwargs":{"a":{"$tuple":[1]}}}]'), trusted=False)
    assert calls == [[1], Call([2], {}), Call([], {"a": (1,)})]


marks = st.sampled_from([*READERS, *TRUSTED_READERS, "$numpy", "$ndarray", "$x"])
keys = marks | st.sampled_from(
    ["shape", "data", "value", "fold", "name", "class", "zone", "fields", "values", "repr", ""]
)
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
    | st.sampled_from(
        ["int64", ">f8", "<M8[s]", "S3", "0x1f", "nan", "2026-11-21", "AAAA", "builtins:int", "PosixPath"]
    )
    | st.builds(lambda k: base64.b64encode(bytes(k)).decode(), st.integers(0, 9)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=15,
)


@given(st.lists(junk, max_size=3), st.booleans())
def test_whatever_arrives_is_read_or_is_a_bad_message(items: list[Any], trusted: bool) -> None:
    data = json.dumps(items).encode()
    for decode in (decode_values, decode_calls):
        try:
            decode(data, trusted=trusted)
        except BadMessage:
            continue


@given(st.binary(max_size=60))
def test_bytes_of_any_sort_are_read_or_are_a_bad_message(data: bytes) -> None:
    for decode in (decode_values, decode_calls):
        try:
            decode(data, trusted=True)
        except BadMessage:
            continue


def test_numpy_is_imported_only_if_a_mark_asks_for_it() -> None:
    program = (
        "import sys; from oche.wire.codec import *; from collections import deque\n"
        "decode_values(encode_values([1, (2.5,), {'a': {3}}, deque([1])]), trusted=True)\n"
        "assert 'numpy' not in sys.modules\n"
        'print(decode_values(b\'[{"$numpy":"int8","value":5}]\', trusted=False)[0] + 1)\n'
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert out.stdout == "6\n"


def test_what_a_script_defines_goes_to_another_process_by_value() -> None:
    script = (
        "import dataclasses, enum, sys; from oche.wire.codec import encode_values\n"
        "class C(enum.Enum):\n    A = 1\n"
        "@dataclasses.dataclass\nclass D:\n    c: C\n"
        "sys.stdout.buffer.write(encode_values([D(C.A), C.A, [1, 'x']]))\n"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=True)
    thing, member, plain = decode_values(out.stdout, trusted=True)
    assert (type(thing).__name__, thing.c.name, member.name) == ("D", "A", "A")
    assert plain == [1, "x"]


def test_a_uuid_of_the_system_comes_back() -> None:
    assert same(there_and_back(uuid4()), there_and_back(there_and_back(uuid4())) or 0) is False  # two are never equal
    one = uuid4()
    assert same(there_and_back(one), one)
