"""Arrays that processes share: every dtype and shape, one copy in memory, nothing left."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sharers import Other, environment, leftovers, other

import oche
from oche.errors import ConfigError, StoreError, StoreFull, Unsupported, ValueLost
from oche.sharing.arrays import SharedArray
from oche.sharing.flag_memory import MemoryFlag
from oche.sharing.memory import Memory

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

WAYS = ["fork", "spawn", "unrelated"]
MB = 2**20
shapes = st.one_of(st.just(()), hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5))
dtypes = st.one_of(
    hnp.scalar_dtypes(),
    hnp.byte_string_dtypes(max_len=9),
    hnp.unicode_string_dtypes(max_len=9),
    hnp.array_dtypes(allow_subarrays=True),
    st.integers(1, 9).map(lambda size: np.dtype(f"V{size}")),
)


@settings(deadline=None, max_examples=70)
@given(shapes, dtypes)
@example((), np.dtype([("α", "<i4"), ("value", ">f8", (2, 3))]))
@example((0,), np.dtype(np.float64))
@example((3, 0, 2), np.dtype("M8[ns]"))
@example((2,), np.dtype([(f"field_number_{i}", "f8") for i in range(500)]))
@example((2,), np.dtype({"names": ["a", "b"], "formats": ["u1", "i8"], "offsets": [0, 8], "itemsize": 24}))
def test_every_dtype_and_shape(shape, dtype):
    with SharedArray.create(shape, dtype) as shared, SharedArray.attach(shared.name) as there:
        assert isinstance(shared.array, np.ndarray)
        assert (shared.array.shape, shared.array.dtype) == (shape, dtype) == (there.array.shape, there.array.dtype)
        assert type(shared.array) is np.ndarray
        assert shared.array.flags.c_contiguous
        assert not any(shared.array.tobytes())
        rng = np.random.Generator(np.random.Philox(1))
        raw = np.frombuffer(rng.bytes(shared.array.nbytes) if dtype.kind in "iufcV" else b"", np.uint8)
        if raw.size and dtype.names is None:
            shared.array.reshape(-1).view(np.uint8)[:] = raw
        elif dtype.kind == "U":
            shared.array[...] = "añ€"[: dtype.itemsize // 4]
        copy = pickle.loads(pickle.dumps(shared))
        assert copy.array.tobytes() == there.array.tobytes() == shared.array.tobytes()
        copy.close()


@settings(deadline=None, max_examples=50)
@given(hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, min_side=0, max_side=6)), st.booleans())
def test_of_is_a_copy(array, turned):
    source = array.T if turned else array
    with SharedArray.of(source) as shared:
        np.testing.assert_array_equal(shared.array, source)
        assert not np.shares_memory(shared.array, source)


@pytest.mark.parametrize("way", WAYS)
def test_others_see_what_is_written(way):
    with SharedArray.create((3, 4), "i8") as shared, other(shared, way) as there:
        shared.array[1, 2] = 7
        assert there("read_item", (1, 2)) == 7
        there("write_item", (2, 3), -5)
        assert shared.array[2, 3] == -5


@pytest.mark.parametrize("way", ["spawn", "unrelated"])
def test_a_copy_passes_it_on(way):
    """A name and a pickle are those of the process that made them, so the first one may end."""
    shared = SharedArray.of(np.arange(5))
    with other(shared, way) as there, SharedArray.attach(there("name")) as again:
        shared.close()
        assert again.array.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_read_only(way):
    with SharedArray.of(np.arange(5)) as shared, SharedArray.attach(shared.name, readonly=True) as seen:
        assert (shared.readonly, seen.readonly) == (False, True)
        with other(seen, way) as there:
            assert there("readonly") is True
            assert there("read_item", 3) == 3
            with pytest.raises(ValueError, match="read-only"):
                there("write_item", 3, 9)
        with pytest.raises(ValueError, match="read-only"):
            seen.array[0] = 1
        with pytest.raises(ConfigError, match="cannot be written"):
            seen.part(0, 2)
        shared.array[0] = 99
        assert seen.array[0] == 99


def test_parts():
    with SharedArray.create((100, 100), "f8") as shared:
        for lo, hi in [(0, 0), (0, 1), (511, 513), (7000, 10_000), (10_000, 10_000)]:
            part = shared.part(lo, hi)
            part[:] = range(lo, hi)
            assert shared.array.reshape(-1)[lo:hi].tolist() == list(range(lo, hi))
        for lo, hi in [(-1, 5), (5, 4), (0, 10_001)]:
            with pytest.raises(ConfigError, match=r"take some of 0 \.\. 10000"):
                shared.part(lo, hi)


def test_a_program_that_knows_nothing_of_oche_reads_it():
    with SharedArray.of(np.arange(12.0).reshape(3, 4)) as shared:
        pid, fd, _ = shared.name.split(".")
        code = f"import numpy; print(numpy.load('/proc/{pid}/fd/{fd}', mmap_mode='r').sum())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
        assert done.stdout == "66.0\n"


def test_views_keep_the_memory_and_nothing_else_does():
    def files() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    def maps() -> int:
        gc.collect()
        with open("/proc/self/maps") as maps:
            return sum("memfd:oche" in line for line in maps)

    before = files(), maps()
    shared = SharedArray.of(np.arange(1000))
    name, row = shared.name, shared.array[10:20]
    shared.close()
    shared.close()
    assert row.tolist() == list(range(10, 20))
    assert repr(shared) == "SharedArray(closed)"
    for use in (lambda: shared.array, lambda: shared.name, lambda: pickle.dumps(shared)):
        with pytest.raises(ValueLost, match="was closed here"):
            use()
    with pytest.raises(ValueLost, match="ended or deleted"):
        SharedArray.attach(name)
    del row
    assert (files(), maps()) == before
    forgotten = SharedArray.create(5)  # without a close
    assert files() > before[0]
    del forgotten
    assert (files(), maps()) == before


def test_what_cannot_be_is_refused():
    for dtype in (object, np.dtype([("a", object)]), "U0", "V0"):
        with pytest.raises(ConfigError):
            SharedArray.create(3, dtype)
    overlap = np.dtype({"names": ["a", "b"], "formats": ["i8", "i4"], "offsets": [0, 4]})
    with pytest.raises(ConfigError):
        SharedArray.create(3, overlap)
    for shape in (-1, (2, -3), 1.5, "ab", (2**70, 0), (1,) * 100):
        with pytest.raises(ConfigError, match="shape"):
            SharedArray.create(shape)
    with pytest.raises(ConfigError):
        SharedArray.of(np.array([None]))
    plain = Memory.create(100)
    with pytest.raises(StoreError, match="cannot be mapped as an array"):
        SharedArray.attach(plain.name)
    for name in ("", "nonsense", "1.2.3", f"{os.getpid()}.0.0000000000000000"):
        with pytest.raises(ValueLost):
            SharedArray.attach(name)


def test_what_does_not_fit_is_refused_before_anything_is_written():
    free = psutil.virtual_memory().available
    with pytest.raises(StoreFull, match="do not fit this machine's free memory"):
        SharedArray.create((free // 8, 2), np.float64)
    with pytest.raises(StoreFull):
        SharedArray.create((2**62, 2**62))
    assert psutil.virtual_memory().available > 0.8 * free


def test_a_large_array_in_three_processes_is_there_once():
    """PSS cuts what is shared among its sharers: the sum over all is what there is."""
    size = 300 * MB

    def everybody(others: list[Other]) -> tuple[list[int], int]:
        sizes = [one("own_and_proportional") for one in others]
        return [own for own, _ in sizes], sum(pss for _, pss in sizes) + own_pss()

    def own_pss() -> int:
        from sharers import own_and_proportional

        return own_and_proportional(None)[1]

    before = own_pss()
    with SharedArray.create(size // 8, "f8") as shared:
        shared.array[:] = 1.0
        with other(shared, "spawn") as one, other(shared, "unrelated") as two:
            bare, without = everybody([one, two])
            for there in (one, two):
                assert there("total") == size // 8
            owned, together = everybody([one, two])
            assert abs(together - without) < 30 * MB
            assert all(own - was < 30 * MB for own, was in zip(owned, bare, strict=True))
            assert together - before > size
    gc.collect()
    assert own_pss() - before < 30 * MB


def holders(token: str) -> set[int]:
    """Processes that have the memory open or mapped."""
    found = set()
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(OSError):  # it has just ended
            texts = [Path(f"/proc/{pid}/maps").read_text()]
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(FileNotFoundError):  # it was just closed
                    texts.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
            if any(token in text for text in texts):
                found.add(pid)
    return found


def test_whoever_is_killed_the_last_one_takes_the_memory_along():
    """The kernel frees what nobody has open or mapped; that it counts right is its own affair."""
    before = leftovers()
    with other(MemoryFlag(), "unrelated") as maker:
        name = maker("make_array", 1000)
        token = name.rpartition(".")[2]
        with SharedArray.attach(name) as shared, other(shared, "unrelated") as user:
            assert user("total") == 1000
            assert holders(token) == {maker.pid, user.pid, os.getpid()}
            maker.kill()
            with pytest.raises(ValueLost, match="ended or deleted"):
                SharedArray.attach(name)
            assert user("total") == 1000
            assert shared.array.sum() == 1000
            user.kill()
            assert holders(token) == {os.getpid()}
        del shared
        gc.collect()
        assert holders(token) == set()
    assert not leftovers() - before


def test_a_pool_takes_it_as_an_argument():
    from concurrent.futures import ProcessPoolExecutor

    from sharers import total

    context = multiprocessing.get_context("spawn")
    with SharedArray.of(np.arange(1000)) as shared, ProcessPoolExecutor(1, mp_context=context) as pool:
        assert pool.submit(total, shared).result(30) == 499_500


def fill_row(row: int, shared: SharedArray) -> int:
    """A task: writes the worker's pid into a row that holds 42."""
    assert (shared.array[row] == 42).all()
    shared.array[row] = os.getpid()
    return os.getpid()


@pytest.mark.parametrize("engine", ["local", "sqlite"])
def test_a_cluster_shares_one_block(engine, tmp_path):
    from farms import Farm

    farm = Farm(engine, tmp_path)
    try:
        with farm.connect() as cluster:
            shared = cluster.share(np.full((40, 1000), 42.0))
            pids = list(cluster.starmap(fill_row, [(row, shared) for row in range(40)]))
            assert (shared.array == np.array(pids)[:, None]).all()
            assert os.getpid() not in pids
            view = shared.array
        with pytest.raises(ValueLost, match="was closed here"):
            _ = shared.array
        assert view[0, 0] == pids[0]
        with pytest.raises(RuntimeError, match="after shutdown"):
            cluster.share(np.zeros(3))
    finally:
        farm.close()


def test_a_cluster_of_many_machines_shares_none(beanstalkd):
    with oche.connect(beanstalkd.url) as cluster, pytest.raises(Unsupported, match="store='memory:'"):
        cluster.share(np.zeros(3))
    with oche.connect(beanstalkd.url, store="memory:") as cluster:
        assert cluster.share(np.arange(3)).array.tolist() == [0, 1, 2]


def test_it_is_made_without_a_warning():
    code = "import pickle, numpy, oche.sharing.arrays as a; s = a.SharedArray.of(numpy.arange(3)); print(s, s.name)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=30, env=environment()
    )
    assert done.stderr == ""
    assert done.stdout.startswith("SharedArray((3,), int64) ")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SharedArray.create((), np.dtype([("é", "i4")])).close()
