"""The conformance suite of stores: each promise of `oche.stores.seam` is a test, and a driver passes them all.

    from oche.testing.store_suite import Rig, StoreSuite

    class TestMyStore(StoreSuite):
        @pytest.fixture
        def rig(self, tmp_path):
            url = f"mine://{tmp_path}"
            return Rig(open=lambda: MyStore.open(url), left=lambda: os.listdir(tmp_path))

Other processes open the same URL by `oche.stores.opening.open_store`. What a store cannot do, by its traits, is skipped
with the reason. The last test lets Hypothesis invent sequences of verbs and compares each step with a dict, `Model`.
"""

from __future__ import annotations

import array
import os
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from oche.errors import StoreError, StoreFull, ValueLost
from oche.stores.seam import Store
from oche.testing.store_model import Model
from oche.testing.store_rig import Bench, Process
from oche.testing.store_rig import Rig as Rig

#: What cannot be the name of a value anywhere.
NO_NAMES = [
    "", ".", "..", "/", "../owner", "/etc/passwd", "a", "1", "1.2", "1.2.3", "-1.0.0.0", "a.b.c.d", "0x1.0.0.0",
    "1.2.3.4.5", "1" * 5000, "1.2.3.4\n", "\0", "1.2\0.3.4", "٣.٣.٣.٣", "\udcff", "a b", "é",
]  # fmt: skip


class StoreSuite(Bench):
    """Subclass it with a fixture `rig`."""

    #: Sequences that Hypothesis tries, and verbs in each; OCHE_EXAMPLES in the environment overrides the first.
    examples, steps = 40, 40

    # One value

    @pytest.mark.parametrize("size", [0, 1, 7, 4095, 4096, 4097, 1_000_003, 1 << 26])
    def test_what_is_put_comes_back(self, store: Store, size: int) -> None:
        data = random.Random(size).randbytes(min(size, 1 << 20)) * max(1, size >> 20)
        name = store.put(data)
        assert store.get(name) == data
        assert store.take(name) == data

    def test_any_contiguous_buffer_is_bytes(self, store: Store) -> None:
        numbers = array.array("d", [1.5, -2.5, 3.5, 0.0, 5.5, 6.5])
        matrix = memoryview(numbers).cast("B").cast("d", (2, 3))
        buffers: list[Any] = [b"xy", bytearray(b"xy"), memoryview(numbers).cast("B"), memoryview(numbers), matrix]
        for data in buffers:
            assert store.get(store.put(data)) == memoryview(data).tobytes()
        with pytest.raises((TypeError, ValueError)):
            store.put(memoryview(b"abcd")[::2])

    def test_a_value_is_a_copy(self, store: Store) -> None:
        data = bytearray(b"before")
        name = store.put(data)
        data[:] = b"later!"
        assert bytes(store.get(name)) == b"before"

    def test_what_is_got_is_read_only_and_flat(self, store: Store) -> None:
        for data in (b"", b"abc"):
            view = store.get(store.put(data))
            assert view.readonly
            assert (view.format, view.ndim, view.c_contiguous) == ("B", 1, True)

    def test_what_is_taken_is_the_callers_own(self, store: Store, other: Process) -> None:
        for size in (10_000, 3_000_000):
            name = store.put(b"x" * size)
            mine, theirs = store.take(name), store.take(name)
            assert not mine.readonly
            mine[:] = b"m" * size
            theirs[5000:] = b"t" * (size - 5000)
            assert mine == b"m" * size
            assert theirs == b"x" * 5000 + b"t" * (size - 5000)
            assert store.get(name) == b"x" * size
            assert other(f"set(store.get({name!r}))") == "{120}"

    def test_names_are_unique_and_short_text(self, rig: Rig) -> None:
        with rig.open() as one, rig.open() as two, ThreadPoolExecutor(4) as pool:
            names = list(pool.map(lambda store: store.put(b"same"), [one, two] * 50))
            assert len(set(names)) == 100
            assert all(name and len(name) < 150 and name.isascii() and name.isprintable() for name in names)

    @pytest.mark.parametrize("name", NO_NAMES, ids=ascii)
    def test_what_is_no_name_is_a_lost_value(self, store: Store, name: str) -> None:
        store.put(b"x")
        for verb in (store.get, store.take):
            with pytest.raises(ValueLost):
                verb(name)
        if store.traits.pieces:
            with pytest.raises(ValueLost):
                store.write(name, 0, b"")
        store.delete(name)

    def test_a_name_that_is_not_quite_right_leads_to_nothing_else(self, store: Store) -> None:
        """It may lead to the same value: a process has a number for each of its threads."""
        name = store.put(b"x")
        for place, letter in enumerate(name):
            for wrong in {"0", "9", "a", "/", ".", ""} - {letter}:
                try:
                    found = store.get(name[:place] + wrong + name[place + 1 :])
                except ValueLost:
                    continue
                assert bytes(found) == b"x"

    # Pieces

    def test_a_created_value_is_zeros(self, store: Store) -> None:
        self.need(store, "pieces")
        for size in (0, 1, 100_000):
            name = store.create(size)
            assert store.get(name) == bytes(size)

    def test_pieces_come_together_from_several_processes(self, rig: Rig, store: Store) -> None:
        self.need(store, "pieces")
        size, count = 10_007, 3  # so that pieces end amid pages
        name = store.create(size * (count + 1))
        with ExitStack() as stack:
            others = [stack.enter_context(Process(store.url)) for _ in range(count)]
            for i, other in enumerate(others):
                other.begin(f"store.write({name!r}, {size * i}, b'{i}' * {size})")
            store.write(name, size * count, b"!" * size)
            assert [other.end() for other in others] == ["None"] * count
        assert store.get(name) == b"".join(b"%d" % i * size for i in range(count)) + b"!" * size

    def test_what_would_not_fit_is_refused_and_changes_nothing(self, store: Store) -> None:
        self.need(store, "pieces")
        name = store.create(10)
        for start, data in ((-1, b"x"), (10, b"x"), (9, b"xy"), (0, b"x" * 11), (2**62, b"x"), (-(2**62), b"x")):
            with pytest.raises(StoreError, match="fit"):
                store.write(name, start, data)
        store.write(name, 10, b"")
        store.write(name, 0, b"")
        assert store.get(name) == bytes(10)

    def test_a_late_attempt_does_not_touch_what_was_taken(self, store: Store) -> None:
        self.need(store, "pieces")
        size = 3_000_000
        name = store.create(size)
        store.write(name, 0, b"x" * size)
        taken = store.take(name)
        taken[: size // 2] = b"y" * (size // 2)
        store.write(name, 0, b"x" * size)
        assert taken == b"y" * (size // 2) + b"x" * (size // 2)

    def test_no_room_is_said(self, rig: Rig, store: Store) -> None:
        self.need(store, "pieces")
        store.put(b"x")
        before = rig.left()
        with pytest.raises(StoreFull, match="1,152,921,504,606,846,976"):
            store.create(2**60)
        assert rig.left() == before

    # Parts of a value

    def test_spans_of_a_value(self, store: Store, other: Process) -> None:
        data = random.Random(3).randbytes(3_000_007)
        name, empty = store.put(data), store.put(b"")
        size, part = len(data), 1 << 20
        spans = [(0, 0), (0, 1), (5, 4096), (part - 1, part + 1), (10, 2 * part + 7), (size - 1, size), (size, size)]
        found = store.get_many(name, spans)
        assert [bytes(view) for view in found] == [data[lo:hi] for lo, hi in spans]
        assert all(view.readonly for view in found)
        assert store.get_many(name, []) == []
        assert store.get_many(empty, [(0, 0)]) == [b""]
        assert other(f"sum(map(len, store.get_many({name!r}, [(7, 1000), (2000, 3000)])))") == "1993"
        for lo, hi in ((-1, 3), (3, 2), (size - 1, size + 1), (size + 1, size + 1)):
            with pytest.raises(StoreError, match="fit"):
                store.get_many(name, [(0, 1), (lo, hi)])
        store.delete(name)
        with pytest.raises(ValueLost):
            store.get_many(name, [(0, 10)])

    # Values that change hands

    def test_what_is_given_has_one_reader(self, rig: Rig, store: Store) -> None:
        for size in (0, 1, 3_000_007):
            data = random.Random(size).randbytes(size)
            with Process(store.url) as other:
                name = eval(other(f"store.give(__import__('random').Random({size}).randbytes({size}))"))
                got = store.accept(name)
                assert got == data
                for again in (store.accept, store.get):
                    with pytest.raises(ValueLost):
                        again(name)
                assert other(f"store.accept({name!r})") == "ValueLost"
            assert got == data
        store.close()
        assert rig.left() == []

    def test_what_was_accepted_takes_no_room(self, rig: Rig, store: Store) -> None:
        files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        with rig.open() as giver:
            for number in range(100):
                assert store.accept(giver.give(b"%d" % number)) == b"%d" % number
            if files:
                assert len(os.listdir("/proc/self/fd")) < files + 20
        store.close()
        assert rig.left() == []

    def test_what_nobody_accepts_has_an_end(self, rig: Rig, store: Store) -> None:
        with rig.open() as giver:
            name = giver.give(b"x")
        rig.lapse()
        with pytest.raises(ValueLost):
            store.accept(name)

    # The end of values

    def test_a_deleted_value_is_lost(self, store: Store, other: Process) -> None:
        name, kept = store.put(b"x"), store.put(b"kept")
        store.delete(name)
        store.delete(name)
        for verb in (store.get, store.take):
            with pytest.raises(ValueLost, match="deleted"):
                verb(name)
        if store.traits.pieces:
            with pytest.raises(ValueLost):
                store.write(name, 0, b"y")
        assert other(f"store.get({name!r})") == "ValueLost"
        assert bytes(store.get(kept)) == b"kept"

    def test_what_was_got_or_taken_outlives_the_value(self, rig: Rig) -> None:
        data = random.Random(1).randbytes(100_000)
        with rig.open() as store:
            name, closed = store.put(data), store.put(data)
            views = [store.get(name), store.take(name), store.get(closed), store.take(closed)]
            store.delete(name)
            store.put(bytes(100_000))
        assert all(view == data for view in views)

    def test_close_forgets_all_and_may_be_called_twice(self, rig: Rig) -> None:
        store, witness = rig.open(), rig.open()
        names = [store.put(b"x"), store.put(b"")] + ([store.create(10)] if store.traits.pieces else [])
        kept = witness.put(b"mine")
        store.close()
        store.close()
        for name in names:
            with pytest.raises(ValueLost):
                witness.get(name)
        assert bytes(witness.get(kept)) == b"mine"
        witness.close()
        assert rig.left() == []
        rig.open().close()  # one that never had a value

    def test_with_closes(self, rig: Rig) -> None:
        store = rig.open()
        name = store.put(b"x")
        with pytest.raises(ZeroDivisionError), store:
            raise ZeroDivisionError
        with rig.open() as later, pytest.raises(ValueLost):
            later.get(name)
        assert rig.left() == []

    # Other processes and threads

    def test_a_value_of_another_process_ends_with_it(self, rig: Rig, store: Store) -> None:
        with Process(store.url) as other:
            name = eval(other("store.put(b'theirs')"))
            view = store.get(name)
            assert bytes(view) == b"theirs"
            if store.traits.pieces:
                filled = eval(other("store.create(6)"))
                store.write(filled, 0, b"filled")
                assert other(f"bytes(store.get({filled!r}))") == "b'filled'"
        with pytest.raises(ValueLost):
            store.get(name)
        assert bytes(view) == b"theirs"

    def test_who_is_killed_leaves_nothing(self, rig: Rig) -> None:
        shared = os.listdir("/dev/shm") if os.path.isdir("/dev/shm") else []
        with rig.open() as store, Process(store.url) as other:
            verb = "create(1 << 20)" if store.traits.pieces else "put(bytes(1 << 20))"
            name, large = eval(other(f"store.put(b'theirs'), store.{verb}"))
            view = store.get(name)
            other.kill()
            rig.lapse()
            with rig.open() as later:
                for lost in (name, large):
                    with pytest.raises(ValueLost):
                        later.get(lost)
            assert bytes(view) == b"theirs"
        assert rig.left() == []
        if os.path.isdir("/dev/shm"):
            assert set(os.listdir("/dev/shm")) <= set(shared)

    def test_who_lives_keeps_its_values_whoever_comes_and_goes(self, rig: Rig, store: Store) -> None:
        name = store.put(b"mine")
        for kill in (True, False):
            with Process(store.url) as other:
                assert other(f"bytes(store.get({name!r}))") == "b'mine'"
                other("store.put(b'theirs')")
                if kill:
                    other.kill()
            rig.open().close()
            assert bytes(store.get(name)) == b"mine"

    def test_threads_share_a_store(self, store: Store) -> None:
        def work(seed: int) -> None:
            chance = random.Random(seed)
            mine: dict[str, bytes] = {}
            for _ in range(100):
                data = chance.randbytes(chance.randrange(9000))
                mine[store.put(data)] = data
                name = chance.choice(list(mine))
                assert store.get(name) == mine[name]
                if chance.random() < 0.5:
                    store.delete(name)
                    del mine[name]
            for name, data in mine.items():
                assert store.take(name) == data

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))

    def test_stores_come_and_go_side_by_side(self, rig: Rig) -> None:
        """Nobody takes a store that has just begun for one whose owner is dead."""

        def work(number: int) -> None:
            for i in range(20):
                with rig.open() as store:
                    data = b"%d.%d" % (number, i)
                    assert store.get(store.put(data)) == data

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert rig.left() == []

    # Everything

    def test_any_sequence_of_verbs_agrees_with_the_model(self, rig: Rig) -> None:
        class Bound(Model):
            def __init__(self) -> None:
                super().__init__(rig)

        run_state_machine_as_test(
            Bound,
            settings=settings(
                max_examples=int(os.environ.get("OCHE_EXAMPLES", self.examples)),
                stateful_step_count=self.steps,
                deadline=None,
                database=None,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
