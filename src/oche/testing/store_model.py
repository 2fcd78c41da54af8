"""What a store does, as a dict from names to bytes, and Hypothesis to find verbs that show otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from oche.errors import StoreError, ValueLost
from oche.stores.seam import Store
from oche.testing.store_rig import Rig


@dataclass(eq=False)
class _Value:
    """A value as the model knows it."""

    name: str
    place: int  # of the store that made it
    data: bytearray
    lost: bool = False
    views: list[tuple[memoryview, bytes]] = field(default_factory=list)  # each with what it must show for ever


class Model(RuleBasedStateMachine):
    """Two stores at one place. Each byte is written once after a value was made, as the seam asks for."""

    values: Bundle[_Value] = Bundle("values")
    places = st.integers(0, 1)

    def __init__(self, rig: Rig) -> None:
        super().__init__()
        self.rig = rig
        self.stores: list[Store] = [rig.open(), rig.open()]
        self.made: list[_Value] = []

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        assert self.rig.left() == []

    def keep(self, name: str, place: int, data: bytes) -> _Value:
        assert name not in {value.name for value in self.made}
        self.made.append(_Value(name, place, bytearray(data)))
        return self.made[-1]

    @rule(target=values, place=places, data=st.binary(max_size=5000))
    def put(self, place: int, data: bytes) -> _Value:
        return self.keep(self.stores[place].put(data), place, data)

    @rule(target=values, place=places, pieces=st.lists(st.binary(max_size=3000), max_size=4), data=st.data())
    def create_and_write(self, place: int, pieces: list[bytes], data: st.DataObject) -> Any:
        """Pieces in any order, each by any store."""
        if not self.stores[place].traits.pieces:
            return multiple()
        whole = b"".join(pieces)
        value = self.keep(self.stores[place].create(len(whole)), place, whole)
        places = {i: sum(map(len, pieces[:i])) for i in range(len(pieces))}
        for i in data.draw(st.permutations(range(len(pieces)))):
            self.stores[data.draw(self.places)].write(value.name, places[i], pieces[i])
        return value

    @rule(value=values, place=places, data=st.data())
    def write_again(self, value: _Value, place: int, data: st.DataObject) -> None:
        """What another attempt does: the same bytes once more."""
        if not self.stores[place].traits.pieces:
            return
        lo = data.draw(st.integers(0, len(value.data)))
        hi = data.draw(st.integers(lo, len(value.data)))
        if value.lost:
            with pytest.raises(ValueLost):
                self.stores[place].write(value.name, lo, value.data[lo:hi])
        else:
            self.stores[place].write(value.name, lo, value.data[lo:hi])

    @rule(value=values, place=places, start=st.integers(-5, 6000), size=st.integers(1, 6000))
    def write_what_does_not_fit(self, value: _Value, place: int, start: int, size: int) -> None:
        if (start >= 0 and start + size <= len(value.data)) or not self.stores[place].traits.pieces:
            return
        with pytest.raises(StoreError):
            self.stores[place].write(value.name, start, b"!" * size)

    @rule(value=values, place=places)
    def get(self, value: _Value, place: int) -> None:
        if value.lost:
            with pytest.raises(ValueLost):
                self.stores[place].get(value.name)
            return
        view = self.stores[place].get(value.name)
        assert view.readonly
        value.views.append((view, bytes(value.data)))

    @rule(value=values, place=places, scribble=st.integers(0, 4999))
    def take(self, value: _Value, place: int, scribble: int) -> None:
        if value.lost:
            with pytest.raises(ValueLost):
                self.stores[place].take(value.name)
            return
        taken = self.stores[place].take(value.name)
        assert taken == value.data
        if scribble < len(taken):
            taken[scribble] ^= 0xFF
        value.views.append((taken, bytes(taken)))

    @rule(value=consumes(values))
    def delete(self, value: _Value) -> None:
        self.stores[value.place].delete(value.name)
        value.lost = True
        with pytest.raises(ValueLost):
            self.stores[1 - value.place].get(value.name)

    @rule(value=values)
    def delete_and_keep_the_name(self, value: _Value) -> None:
        """Also of what is gone already."""
        self.stores[value.place].delete(value.name)
        value.lost = True

    @rule(place=places)
    def close(self, place: int) -> None:
        self.stores[place].close()
        for value in self.made:
            value.lost |= value.place == place
        self.stores[place] = self.rig.open()

    @invariant()
    def what_was_seen_is_still_there(self) -> None:
        for value in self.made:
            for view, data in value.views:
                assert view == data
