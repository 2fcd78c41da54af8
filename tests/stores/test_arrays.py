"""Arrays by reference: shared, viewed, filled in blocks, and collected."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oche.errors import ConfigError, ValueLost
from oche.stores.arrays import Array, ArrayRef, blank, collect, place, share, view
from oche.stores.opening import open_store
from oche.stores.seam import Store
from oche.wire.codec import decode_calls, encode_call

STORES = ["none", *(["memory"] if sys.platform == "linux" else []), "files"]
PLAIN = ["?", "i1", "u1", "<i2", ">i4", "<i8", ">u8", "<f2", ">f4", "<f8", "<c8", ">c16", "S3", "<U2", ">U2", "V5",
         "<M8[ns]", ">M8[D]", "<m8[3s]"]  # fmt: skip
RECORDS = [
    np.dtype([("a", "i1"), ("b", "<f8")], align=True),
    np.dtype([("a", ">i4"), ("b", "S2", (2, 3)), ("c", [("d", "?"), ("e", "<c8")])]),
    np.dtype({"names": ["a", "b"], "formats": ["<i4", "<i2"], "offsets": [3, 11], "itemsize": 17}),
    np.dtype([(("a title", "a"), "<i4"), ("b", "<U1")]),
]
DTYPES = [np.dtype(text) for text in PLAIN] + RECORDS
SHAPES: list[tuple[int, ...]] = [(), (1,), (0,), (7,), (3, 0, 2), (4, 5), (2, 3, 4), (1, 1, 1, 2)]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store | None]:
    if request.param == "none":
        yield None
        return
    with open_store("memory:" if request.param == "memory" else f"files://{tmp_path}") as store:
        yield store


def filled(shape: Sequence[int], dtype: np.dtype[Any], seed: int = 0) -> Array:
    """An array of whatever its bytes may be."""
    chance = random.Random(f"{seed} {shape} {dtype}")
    a = np.zeros(shape, dtype)
    if dtype.names:
        for name in dtype.names:
            part = a[name]
            part[...] = filled(part.shape, part.dtype, seed + 1)
    elif dtype.kind == "b":
        a[...] = np.array([chance.random() < 0.5 for _ in range(a.size)], bool).reshape(shape)
    elif dtype.kind == "U":
        a[...] = np.array([chance.choice(["", "a", "ä€", "\0x", "𝄞"]) for _ in range(a.size)], dtype).reshape(shape)
    elif a.size:
        a = np.frombuffer(chance.randbytes(a.nbytes), dtype).reshape(shape).copy()
    return a


def same(a: Array, b: Array) -> bool:
    """To the last bit, but for what pads records."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.names:
        return all(same(a[name], b[name]) for name in a.dtype.names)
    return a.tobytes() == b.tobytes()


def layouts(a: Array) -> Iterator[Array]:
    """The same array as it may lie in memory."""
    yield a
    yield np.asfortranarray(a)
    wide = np.zeros([2 * side for side in a.shape], a.dtype)
    stepped = wide[(*[slice(None, None, 2)] * a.ndim, ...)]  # the dots make it an array also of no dimensions
    stepped[...] = a
    yield stepped
    backward = (*[slice(None, None, -1)] * a.ndim, ...)
    yield a[backward].copy()[backward]
    frozen = a.copy()
    frozen.flags.writeable = False
    yield frozen


def test_filled_tells_values_apart() -> None:
    """Of the helpers themselves."""
    for dtype in DTYPES:
        a = filled((40,), dtype)
        assert same(a, a.copy())
        assert not same(a, a[::-1])
        assert not same(a, np.zeros_like(a))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_is_shared_is_seen_bit_by_bit_and_read_only(store: Store | None, dtype: np.dtype[Any]) -> None:
    for shape in SHAPES:
        for a in layouts(filled(shape, dtype)):
            shared = share(store, a)
            assert isinstance(shared, ArrayRef) is (store is not None)
            seen = view(shared)
            assert same(seen, a)
            assert seen.dtype.str == a.dtype.str
            assert not seen.flags.writeable
            assert seen.flags.c_contiguous
            with pytest.raises(ValueError, match=r"read-only|writeable"):
                seen[...] = seen.copy()
            if store is not None:
                store.delete(shared.name)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_reference_travels(store: Store | None, dtype: np.dtype[Any]) -> None:
    """As it does in a job."""
    a = filled((3, 2), dtype)
    for shared in (share(store, a), blank(store, (3, 2), dtype)):
        call = encode_call((shared,), {})
        ((arrived,),) = decode_calls(b"[" + call + b"]", trusted=True)
        if isinstance(shared, ArrayRef):
            assert arrived == shared
            assert arrived.kind == dtype
            assert b"$pickle" not in call
        else:
            assert same(arrived, shared)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_blocks_come_together(store: Store | None, dtype: np.dtype[Any]) -> None:
    for shape in SHAPES:
        a = filled(shape, dtype)
        for steps in itertools.product(*[sorted({1, max(side - 1, 1), max(side, 1)}) for side in shape]):
            if len(shape) > 2 and 1 in steps[1:-1]:
                continue  # enough is enough
            out = blank(store, shape, dtype)
            assert same(fill(store, out, a, steps), a)
            if store is not None:
                store.delete(out.name)


def filled_anew(a: Array) -> Array:
    """With zeros where records are padded."""
    b = np.zeros(a.shape, a.dtype)
    b[...] = a
    return b


def fill(store: Store | None, out: ArrayRef, a: Array, steps: Sequence[int]) -> Array:
    """Places `a` in blocks of these sides, in any order, some twice, and collects it."""
    chance = random.Random(str((a.shape, steps)))
    a = filled_anew(a)
    starts = list(itertools.product(*[range(0, side, step) for side, step in zip(a.shape, steps, strict=True)]))
    chance.shuffle(starts)
    pieces = []
    for start in starts:
        block = a[(*[slice(lo, lo + step) for lo, step in zip(start, steps, strict=True)], ...)]
        for layout in list(layouts(block))[: 2 if chance.random() < 0.3 else 1]:
            pieces.append((start, place(out, start, layout)))
    return collect(store, out, pieces)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_blocks_come_together(store: Store | None, data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(0, 9), max_size=4).map(tuple))
    steps = [data.draw(st.integers(1, max(side, 1))) for side in shape]
    dtype = data.draw(st.sampled_from(DTYPES))
    a = filled(shape, dtype)
    out = blank(store, shape, dtype)
    whole = fill(store, out, a, steps)
    assert same(whole, a)
    assert whole.flags.writeable
    assert whole.flags.c_contiguous
    whole[...] = np.zeros((), dtype)


def test_axes_that_start_does_not_name_begin_at_zero(store: Store | None) -> None:
    a = np.arange(60).reshape(3, 4, 5)
    out = blank(store, a.shape, a.dtype)
    done = [((row,), place(out, (row,), a[row : row + 1])) for row in range(3)]
    assert same(collect(store, out, done), a)


def test_what_nobody_fills_is_zero(store: Store | None) -> None:
    out = blank(store, (3, 4), np.dtype("f8"))
    done = [((1, 1), place(out, (1, 1), np.ones((1, 2))))]
    whole = collect(store, out, done)
    assert whole.sum() == 2
    assert whole[1, 1] == whole[1, 2] == 1


def test_a_block_takes_the_type_of_the_whole(store: Store | None) -> None:
    out = blank(store, (2,), np.dtype(">f4"))
    assert collect(store, out, [((0,), place(out, (0,), np.array([1, 2])))]).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("start", "shape"),
    [((0, 3), (2, 2)), ((3, 0), (2, 1)), ((-1, 0), (1, 1)), ((0, 0), (5, 1)), ((0, 0), (1, 5)), ((0,), (2,)),
     ((0, 0), ()), ((0, 0, 0), (1, 1)), ((0, 0), (1, 1, 1)), ((5, 0), (0, 4)), ((), (4,))],
)  # fmt: skip
def test_a_block_that_does_not_fit_is_refused(
    store: Store | None, start: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    """It would lie across the rows of others."""
    out = blank(store, (4, 4), np.dtype("i4"))
    with pytest.raises(ConfigError, match=r"does not fit at .* in an array of shape \(4, 4\)"):
        place(out, start, np.ones(shape, "i4"))
    assert not collect(store, out, []).any()


def test_arrays_without_bytes_of_their_own_are_refused(store: Store | None) -> None:
    for dtype in ("O", [("a", "O")], *(["T"] if hasattr(np.dtypes, "StringDType") else [])):
        with pytest.raises(ConfigError, match="Python objects"):
            share(store, np.zeros(3, dtype))
        with pytest.raises(ConfigError, match="Python objects"):
            blank(store, (3,), np.dtype(dtype))
    with pytest.raises(ConfigError, match="give the dtype a length"):
        blank(store, (3,), np.dtype("S"))


def test_records_whose_fields_are_out_of_order_are_refused() -> None:
    swapped = np.zeros(3, [("a", "i4"), ("b", "i2")])[["b", "a"]]
    with open_store("memory:") as store:
        for refused in (lambda: share(store, swapped), lambda: blank(store, (3,), swapped.dtype)):
            with pytest.raises(ConfigError, match="repack"):
                refused()


def test_a_deleted_array_is_lost_and_a_seen_one_is_not(store: Store | None) -> None:
    if store is None:
        pytest.skip("there is no store that could lose it")
    shared = share(store, np.arange(1000))
    seen = view(shared)
    store.delete(shared.name)
    assert seen.sum() == 499_500
    with pytest.raises(ValueLost):
        view(shared)


def test_a_result_is_the_callers_own(store: Store | None) -> None:
    """A late attempt writes once more, and what the caller changed stays changed."""
    out = blank(store, (1_000_000,), np.dtype("f8"))
    block = np.ones(1_000_000)
    whole = collect(store, out, [((0,), place(out, (0,), block))])
    whole[::2] = 7
    place(out, (0,), block)
    assert (whole[::2] == 7).all()
    assert (whole[1::2] == 1).all()


PROGRAM = """
import sys
import numpy as np
from oche.stores.arrays import ArrayRef, view

def memory():
    with open("/proc/self/smaps_rollup") as file:
        return {line.split(":")[0]: int(line.split()[1]) << 10 for line in list(file)[1:]}

before = memory()
seen = view(ArrayRef(sys.argv[1], sys.argv[2], "<f8", (25_000_000,)))
mapped = memory()
assert seen[::1000].sum() == 25_000 and seen.sum() == 25_000_000
read = memory()
print(mapped["Pss"] - before["Pss"], read["Pss_Anon"] - before["Pss_Anon"], read["Rss"] - before["Rss"])
"""


@pytest.mark.parametrize("url", ["memory:", "files:"])
def test_who_views_an_array_has_no_copy_of_it(tmp_path: Path, url: str) -> None:
    """Of 200 MB another process has not a page before it reads, and none of its own when it has read all."""
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("this system does not tell")
    with open_store(url if url == "memory:" else f"files://{tmp_path}") as store:
        shared = share(store, np.ones(25_000_000))
        command = [sys.executable, "-c", PROGRAM, shared.store, shared.name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    mapped, own, read = map(int, done.stdout.split())
    assert mapped < 10_000_000
    assert own < 10_000_000
    assert read > 190_000_000
