"""The array comparison: one block, equal shares, no 42 left; and a copy would be seen."""

from __future__ import annotations

import json
import os
from contextlib import suppress

import numpy as np
import psutil
import pytest

from oche.cli.output import json_text
from oche.compare import arrays as module
from oche.compare import arrays_report as report
from oche.compare.arrays import compare_arrays, fitting, overwrite, write_answer
from oche.compare.crew import Crew
from oche.compare.memory import memory_of
from oche.errors import ConfigError, Crashed, OcheError, StoreFull, Unsupported
from oche.sharing.arrays import SharedArray

MB = 10**6


@pytest.fixture(scope="module")
def found():
    steps: list[str] = []
    comparison = compare_arrays((801, 20_000), processes=2, on_step=steps.append)
    assert steps[0] == "drawing random numbers: numpy"
    assert steps[-1] == "looking at the memory"
    return comparison


def test_each_process_holds_an_equal_share_and_nothing_is_left(found):
    assert sorted(share.rows for share in found.shares) == [400, 401]
    assert found.left == 0


def test_the_array_is_in_memory_once(found):
    assert found.nbytes == 801 * 20_000 * 8
    assert found.blocks == 1
    assert found.copied < 32 * MB
    for share in found.shares:
        assert 0.45 * found.nbytes < share.sight < 0.6 * found.nbytes
        assert share.uss < share.pss
        assert not psutil.pid_exists(share.pid)


def test_the_report_shows_all_of_it(found):
    memory, times = map(str, report.tables(found))
    assert "801 x 20,000 float64, 128.16 MB, in 2 processes" in memory
    assert all(str(share.pid) in memory for share in found.shares)
    assert "after overwriting: 400 to 401 rows each, 0 rows left" in memory
    assert "smaps: 1" in memory
    assert "2 processes" in times
    assert "the same numbers by numpy" in times
    copies, shares, faster = report.goals(found)
    assert copies.reached is True
    assert shares.reached is True
    assert "1.9 times as fast as numpy" in faster.text
    plain = json.loads(json_text(report.plain(found)))
    assert plain["found"]["shape"] == [801, 20_000]
    assert plain["copied"] == found.copied


def keep_copy(shared: SharedArray) -> None:
    _kept.append(shared.array.copy())


_kept: list[np.ndarray] = []


def test_a_copy_would_be_seen():
    with SharedArray.create((1000, 4000)) as shared, Crew(2, shared) as crew:
        shared.array[:] = 1
        crew.each(read_all, [()] * 2)
        before = [memory_of(pid) for pid in crew.pids]
        crew.each(keep_copy, [()] * 2)
        after = [memory_of(pid) for pid in crew.pids]
    for old, new in zip(before, after, strict=True):
        assert list(old.blocks.values()) == pytest.approx([32 * MB], rel=0.01)
        assert new.uss - old.uss > 30 * MB
        assert new.pss - old.pss > 30 * MB
        assert old.blocks_pss == pytest.approx(32 * MB / 3, rel=0.02)


def read_all(shared: SharedArray) -> float:
    return float(shared.array.sum())


def test_what_somebody_else_overwrote_is_told():
    with SharedArray.create((6, 5)) as shared:
        for worker in range(2):
            write_answer(shared, worker, 2)
        assert (shared.array == 42).all()
        overwrite(shared, 0, 2)
        assert (shared.array[::2] == os.getpid()).all()
        assert (shared.array[1::2] == 42).all()
        with pytest.raises(OcheError, match="does not hold 42"):
            overwrite(shared, 0, 1)


def test_a_killed_process_is_told(monkeypatch):
    def kill(text: str) -> None:
        if text.startswith("writing"):
            for child in psutil.Process().children():
                with suppress(psutil.NoSuchProcess):  # one before, a zombie
                    if "spawn_main" in " ".join(child.cmdline()):
                        child.kill()
                        return

    with pytest.raises(Crashed, match="run it again"):
        compare_arrays((100, 100), processes=2, on_step=kill)


def test_without_a_shape_it_fits_into_memory(monkeypatch):
    monkeypatch.setattr(module, "free_memory", lambda: 10**10)
    assert fitting((10_000, 80_000), 2) == (5000, 80_000)
    monkeypatch.setattr(module, "free_memory", lambda: 10**6)
    assert fitting((10_000, 80_000), 3) == (4, 80_000)
    monkeypatch.setattr(module, "free_memory", lambda: None)
    assert fitting((10_000, 80_000), 2) == (10_000, 80_000)
    monkeypatch.setattr(module, "SHAPE", (64, 100))
    monkeypatch.setattr(module, "free_memory", lambda: 20_000)
    found = compare_arrays(processes=2)
    assert (found.shape, found.wanted) == ((8, 100), (64, 100))
    assert "not 64 x 100" in str(report.tables(found)[0])
    assert "--shape 64x100 insists" in str(report.tables(found)[0])


def test_what_cannot_be_compared_is_refused():
    for shape, processes in (((0, 5), 1), ((5, 0), 1), ((5, 5), 0), ((1, 5), 2), ((5,), 1)):
        with pytest.raises(ConfigError, match="a row or more for each"):
            compare_arrays(shape, processes=processes)  # type: ignore[arg-type]
    with pytest.raises(StoreFull):
        compare_arrays((10**6, 10**9), processes=2)


def test_a_process_that_is_gone_cannot_be_seen():
    with pytest.raises(Unsupported, match="cannot be seen"):
        memory_of(2**22 + 1)
