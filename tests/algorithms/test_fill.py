"""An array filled by many is the array that numpy fills alone, bit for bit."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oche
from farms import Farm, until
from oche.algorithms import fill as module
from oche.algorithms.fill import SPAN, fill_random
from oche.errors import ConfigError, Unsupported, ValueLost
from oche.sharing.arrays import SharedArray
from oche.sharing.gate import Gate

KINDS = [np.float64, np.float32]
#: Three calls, the last one short, and no multiple of what a counter makes.
SIZE = 2 * SPAN + 12_345


def alone(shape, seed, kind=np.float64):
    return np.random.Generator(np.random.Philox(seed)).random(shape, dtype=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_shared_array(cluster, kind):
    with SharedArray.create(SIZE, kind) as shared:
        assert fill_random(shared, 2024, cluster=cluster) is None
        assert (shared.array == alone(SIZE, 2024, kind)).all()


def test_a_plain_array(cluster):
    array = np.empty((5, SIZE // 5), np.float32)
    fill_random(array, 2**70, cluster=cluster)
    assert (array == alone(array.shape, 2**70, np.float32)).all()


@settings(deadline=None)
@given(st.integers(0, 2**64), st.lists(st.integers(0, 9), max_size=3), st.sampled_from(KINDS), st.sampled_from("CF"))
def test_any_shape_and_order(seed, shape, kind, order):
    array, theirs = np.empty(shape, kind, order), np.empty(shape, kind, order)
    fill_random(array, seed)
    if array.ndim:
        np.random.Generator(np.random.Philox(seed)).random(out=theirs, dtype=kind)
        assert array.tobytes("A") == theirs.tobytes("A")
    with SharedArray.create(shape, kind) as shared:
        fill_random(shared, seed)
        assert shared.array.tobytes() == alone(shape or None, seed, kind).tobytes() if shape else True


def test_sqlite(tmp_path):
    farm = Farm("sqlite", tmp_path)
    try:
        with farm.connect() as cluster, SharedArray.create((2, SPAN)) as shared:
            fill_random(shared, 11, cluster=cluster)
            assert (shared.array == alone((2, SPAN), 11)).all()
    finally:
        farm.close()


@pytest.mark.timeout(90)
def test_children_that_are_killed_leave_no_trace(tmp_path):
    farm, chance, kills = Farm("local", tmp_path), random.Random(5), 0
    with farm.connect() as cluster, ThreadPoolExecutor(1) as pool, SharedArray.create(24 * SPAN, np.float32) as shared:
        assert cluster.submit(abs, -1).result(30) == 1
        filled = pool.submit(fill_random, shared, 3, cluster=cluster)
        while not filled.done() and kills < 3:
            crew = until(lambda: farm.children() or filled.done(), "there is somebody to kill")
            if crew is True:
                break
            with contextlib.suppress(psutil.NoSuchProcess):
                chance.choice(crew).kill()
                kills += 1
            with contextlib.suppress(TimeoutError):
                filled.result(chance.uniform(0.05, 0.3))
        filled.result(60)
        assert (shared.array == alone(24 * SPAN, 3, np.float32)).all()
    assert kills > 0


def test_a_late_call_writes_nothing():
    """A copy of a call that begins when all is done finds the gate shut, or gone."""
    with SharedArray.create(100) as shared:
        gate = Gate()
        gate.shut()
        module._fill_shared(0, 100, shared=shared, gate=gate, key=(1, 2))
        assert not shared.array.any()
        gate.close()
        with pytest.raises(ValueLost, match="closed here"):
            module._fill_shared(0, 100, shared=shared, gate=gate, key=(1, 2))
        assert not shared.array.any()


def test_when_it_returns_nobody_writes(monkeypatch):
    """One call is still on its way when the executor reports an error: it is waited for."""
    returned = threading.Event()
    with SharedArray.create(4 * SPAN) as shared, ThreadPoolExecutor(2) as pool:
        slow = module._fill_shared

        def fill_slowly(lo, hi, **common):
            if lo == SPAN:
                raise ZeroDivisionError
            slow(lo, hi, **common)
            returned.wait(0.3)  # it must not return while we are here; if it does, we write over what comes after
            slow(lo, hi, **common)

        monkeypatch.setattr(module, "_fill_shared", fill_slowly)
        with pytest.raises(ZeroDivisionError):
            fill_random(shared, 1, cluster=pool)
        shared.array[:] = 42
        returned.set()
        pool.shutdown()
        assert (shared.array == 42).all()


def test_what_cannot_be_filled_is_refused(beanstalkd):
    frozen = np.zeros(8)
    frozen.flags.writeable = False
    for array in (np.zeros(8, int), np.zeros(8, ">f8"), np.zeros(16)[::2], frozen, [1.0, 2.0]):
        with pytest.raises(ConfigError, match="cannot be filled"):
            fill_random(array, 0)
    with SharedArray.create(5) as shared:
        for seed in (-1, 1.0, None, "1", True):
            with pytest.raises(ConfigError, match="seed"):
                fill_random(shared, seed)
        with oche.connect(beanstalkd.url) as cluster, pytest.raises(Unsupported, match="store='memory:'"):
            fill_random(shared, 0, cluster=cluster)
        seen = SharedArray.attach(shared.name, readonly=True)
    with pytest.raises(ConfigError, match="cannot be filled"):
        fill_random(seen, 0)
    with SharedArray.create(5, int) as shared, pytest.raises(ConfigError, match="cannot be filled"):
        fill_random(shared, 0)
    with pytest.raises(ValueLost, match="was closed here"):
        fill_random(shared, 0)


def test_importing_it_loads_no_compiler():
    code = "import sys, oche.algorithms.fill; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"
