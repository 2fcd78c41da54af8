"""Values that a process keeps because it has read them lately."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from oche.stores.lately import Lately


@given(
    room=st.integers(0, 20),
    sizes=st.lists(st.integers(0, 25), min_size=5, max_size=5),
    asked=st.lists(st.integers(0, 4), max_size=40),
)
def test_the_least_recently_used_make_room(room: int, sizes: list[int], asked: list[int]) -> None:
    lately, read = Lately(room), []
    model: OrderedDict[int, int] = OrderedDict()  # the oldest first
    for key in asked:

        def fetch(key: int = key) -> memoryview:
            read.append(key)
            return memoryview(bytes([key]) * sizes[key])

        before = len(read)
        assert lately.get(key, fetch) == bytes([key]) * sizes[key]
        assert (len(read) > before) is (key not in model)
        if sizes[key] <= room:
            model[key] = sizes[key]
            model.move_to_end(key)
        while sum(model.values()) > room:
            model.popitem(last=False)


def test_threads_share_it() -> None:
    """Two that read the same at once count it once."""
    lately = Lately(1000)

    def look(number: int) -> bool:
        data = b"%d" % (number % 50) * 10
        return lately.get(number % 50, lambda: memoryview(data)) == data

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(look, range(5000)))
    assert lately._bytes == sum(kept.nbytes for kept in lately._kept.values()) <= 1000
