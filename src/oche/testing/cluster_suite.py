"""What an engine promises beside PEP 3148: the rest of a cluster's face, and a task's options, kept or refused.

from oche.testing.cluster_suite import ClusterSuite, Rig      # otherwise as `executor_suite`
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from oche.cluster.executor import Cluster
from oche.errors import Broken, Crashed, TimedOut, Unsupported
from oche.testing import executor_calls as calls
from oche.testing.executor_rig import PATIENCE, Bench, Held, lines, settled, submitted
from oche.testing.executor_rig import Rig as Rig
from oche.wire.task import task


class ClusterSuite(Bench):
    """Subclass it with a fixture `rig`; what that opens is an `oche.Cluster`."""

    def test_many_calls(self, executor: Cluster) -> None:
        assert list(executor.starmap(calls.add, [(1, 2), (3, 4)])) == [3, 7]
        assert sorted(executor.imap_unordered(calls.square, range(500))) == [i * i for i in range(500)]
        factor = 3
        assert list(executor.map(lambda x: x * factor, range(5))) == [0, 3, 6, 9, 12]
        n = 100_000
        assert executor.reduce(calls.span_sum, range(n), operator.add, progress=True) == n * (n - 1) // 2

    def test_short_calls_travel_together(self, executor: Cluster) -> None:
        list(executor.map(calls.square, range(3000)))
        jobs = set(executor.map(calls.job, range(3000)))
        assert len(jobs) < 1000

    def test_first_is_the_lowest_and_stops_the_others(self, executor: Cluster) -> None:
        begin = time.monotonic()
        assert executor.first(calls.answer_or_spin, range(40)) == 0
        assert time.monotonic() - begin < PATIENCE / 2
        assert executor.submit(calls.square, 3).result(PATIENCE) == 9
        assert executor.first(calls.nothing, range(1000)) is None

    def test_a_call_that_runs_is_told_to_stop(self, executor: Cluster, rig: Rig, hold: Callable[[], Held]) -> None:
        if not rig.traits.stop:
            pytest.skip("a call of this engine that runs cannot be told to stop")
        held, begin = hold(), time.monotonic()
        assert all(future.cancel() for future in held.futures)
        with pytest.raises(CancelledError):
            held.futures[0].result()
        assert executor.submit(calls.square, 5).result(PATIENCE) == 25
        assert time.monotonic() - begin < PATIENCE / 2  # nobody has let them go

    def test_an_array_is_shared(self, executor: Cluster, rig: Rig) -> None:
        array = np.arange(1000.0)
        if executor.store is None or not executor.store.traits.here_only:
            with pytest.raises(Unsupported, match="machine"):
                executor.share(array)
            return
        shared = executor.share(array)
        assert list(executor.map(partial(calls.item, shared), range(0, 1000, 100))) == list(range(0, 1000, 100))

    def test_retries(self, executor: Cluster, tmp_path: Path) -> None:
        path = str(tmp_path / "tries")
        third = task(retries=2)(calls.third_time)
        assert executor.submit(third, path).result(PATIENCE) == 3
        with pytest.raises(ValueError, match="not yet"):
            executor.submit(task(retries=1)(calls.third_time), f"{path}2").result(PATIENCE)

    def test_a_time_limit_is_kept_or_refused(self, executor: Cluster, rig: Rig) -> None:
        limited = task(timeout=0.2)(calls.spin)
        if not rig.traits.timeout:
            with pytest.raises(Unsupported, match=r"timeout=0\.2"):
                executor.submit(limited, PATIENCE)
            with pytest.raises(Unsupported, match=r"timeout=0\.2"):
                executor.map(limited, [PATIENCE])
        else:
            begin = time.monotonic()
            assert isinstance(executor.submit(limited, PATIENCE).exception(PATIENCE), TimedOut)
            assert time.monotonic() - begin < PATIENCE / 2
        assert executor.submit(calls.square, 6).result(PATIENCE) == 36

    def test_a_call_that_kills_its_process_fails_alone(self, executor: Cluster, rig: Rig, tmp_path: Path) -> None:
        if not rig.separate:
            pytest.skip("its calls run in this process: what kills one ends the program")
        path = tmp_path / "ran"
        poison = executor.submit(calls.die)
        good = submitted(executor, [partial(calls.slow_mark, str(path), i) for i in range(12)])
        if rig.traits.survives:
            assert isinstance(poison.exception(PATIENCE), Crashed)
            assert settled(good) == [None] * 12
            assert set(lines(path)) == set(range(12))
        else:
            assert isinstance(poison.exception(PATIENCE), (Broken, Crashed))
            assert all(error is None or isinstance(error, Broken) for error in settled(good))
