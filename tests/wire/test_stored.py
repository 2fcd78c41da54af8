"""References in the place of arguments: whatever the calls are, putting and getting gives them back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oche.errors import BadMessage, ValueLost
from oche.wire.codec import decode_calls, encode_call
from oche.wire.stored import (
    LONGEST,
    Stored,
    arguments,
    check_digest,
    digest_of,
    each_argument,
    read_stored,
    references,
    shorten,
    write_stored,
)

VALUES = st.recursive(
    st.none()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from(["x" * 500, "y" * 5000, '{"$stored":"a"}', "é" * 400]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.just("$stored"), inner, max_size=3)
    ),
    max_leaves=8,
)
CALLS = st.lists(
    st.tuples(st.lists(VALUES, max_size=4), st.dictionaries(st.text(max_size=6) | st.just("$x"), VALUES, max_size=3)),
    min_size=1,
    max_size=4,
)


class Shelf(dict[str, bytes]):
    """A store, and what shortens and restores by it."""

    def put(self, data: bytes) -> Stored:
        stored = Stored(f"value{len(self)}", digest_of(data))
        self[stored.name] = data
        return stored

    def whole(self, calls: bytes) -> bytes:
        def fetched(part: bytes) -> bytes:
            stored = read_stored(part)
            if stored is None:
                return part
            check_digest(self[stored.name], stored)
            return self[stored.name]

        return each_argument(calls, fetched)


def encoded(calls: list[tuple[list[Any], dict[str, Any]]]) -> bytes:
    return b"[" + b",".join(encode_call(tuple(args), dict(kwargs)) for args, kwargs in calls) + b"]"


@given(CALLS, st.integers(0, 6000))
def test_what_is_put_away_comes_back(calls: list[tuple[list[Any], dict[str, Any]]], room: int) -> None:
    whole, shelf = encoded(calls), Shelf()
    short = shorten(whole, room, shelf.put)
    assert shelf.whole(short) == whole
    assert {stored.name for stored in references(short)} == set(shelf)
    assert all(len(data) > LONGEST for data in shelf.values())
    assert len(set(shelf.values())) == len(shelf)
    if len(whole) <= room:
        assert short == whole
    elif len(short) > room:
        assert all(len(part) <= LONGEST for part in arguments(short))
    assert decode_calls(shelf.whole(short), trusted=True) == decode_calls(whole, trusted=True)


def test_no_more_is_put_away_than_needed() -> None:
    shelf = Shelf()
    calls = encoded([(["a" * 1000, "b" * 3000, "c" * 2000, 1], {"d": "d" * 4000})])
    short = shorten(calls, 5000, shelf.put)
    assert sorted(map(len, shelf.values())) == [3002, 4002]
    assert len(short) <= 5000
    assert len(references(short)) == 2


def test_one_value_in_many_places_is_put_once() -> None:
    shelf = Shelf()
    short = shorten(encoded([(["a" * 1000] * 3, {}), (["a" * 1000], {"x": "a" * 1000})]), 100, shelf.put)
    assert len(shelf) == 1
    assert len(references(short)) == 5


@given(st.text(max_size=50).filter(lambda text: text.isascii()))
def test_a_reference_is_never_longer_than_that(name: str) -> None:
    stored = Stored(name[:150], digest_of(b""))
    assert len(write_stored(stored)) <= LONGEST
    assert read_stored(write_stored(stored)) == stored
    assert read_stored(write_stored(stored).decode()) == stored


@pytest.mark.parametrize("text", ["", "[]", '{"a":1}', '{"$str":"x"}', '"$stored"', '{ "$stored": "x" }', "gASVBQ=="])
def test_what_is_no_reference(text: str) -> None:
    assert read_stored(text) is None


@pytest.mark.parametrize(
    "text", ['{"$stored":', '{"$stored":"a"}', '{"$stored":1,"digest":"b"}', '{"$stored":"a","digest":"b","c":1}']
)
def test_a_malformed_reference(text: str) -> None:
    with pytest.raises(BadMessage, match="reference"):
        read_stored(text)


@pytest.mark.parametrize("calls", [b"", b"{}", b"[1]", b"[[1]", b'["a"]', b'[{"args":1}]', b"\xff"])
def test_what_are_no_calls(calls: bytes) -> None:
    with pytest.raises(BadMessage, match="calls"):
        each_argument(calls, lambda part: part)


def test_bytes_that_were_changed() -> None:
    stored = Stored("a", digest_of(b"one"))
    check_digest(b"one", stored)
    with pytest.raises(ValueLost, match="not what was put"):
        check_digest(b"two", stored)
