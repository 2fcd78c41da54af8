"""A child that dies: who is blamed, what becomes of its neighbours, and when it is given up."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest
import worker_chores as chores
from worker_bench import Bench, alive, eventually

from oche.queues.seam import State
from oche.wire.job import decode_job
from oche.wire.outcome import Cause, Failure


@pytest.mark.parametrize("how", ["SIGKILL", "exit 3", "SIGSEGV"])
def test_a_poison_call_is_buried_after_three_attempts(tmp_path: Path, how: str) -> None:
    path = tmp_path / "ran"
    with Bench() as bench:
        failure = bench.failure(chores.die, str(path), how)
        assert failure.cause is Cause.CRASHED
        assert failure.signal == how
        assert failure.attempts == 3
        assert how in failure.message
        assert path.read_text().splitlines() == [how] * 3
        bench.settled(buried=1)
        peeked = bench.queue.peek(bench.farm.work, State.BURIED)
        assert peeked is not None
        body, signed = bench.signer.open(peeked.body)
        assert signed
        assert decode_job(body).reason == failure.message
        assert bench.one(chores.add, 1, 2) == 3  # the worker lives on


def test_retries_give_a_crashing_call_more_attempts(tmp_path: Path) -> None:
    path = tmp_path / "ran"
    with Bench() as bench:
        assert bench.failure(chores.die, str(path), "SIGKILL", retries=4).attempts == 5
        assert len(path.read_text().splitlines()) == 5


@pytest.mark.parametrize("crashes", [0, 5])
def test_crashes_are_counted_apart_from_retries(tmp_path: Path, crashes: int) -> None:
    path = tmp_path / "ran"
    with Bench() as bench:
        assert bench.failure(chores.die, str(path), "SIGKILL", crashes=crashes).attempts == crashes + 1
        failure = bench.failure(chores.fail_until, str(tmp_path / "raised"), 99, crashes=crashes)
        assert failure.attempts == 1  # what raises is not tried again


def test_the_neighbours_of_a_poison_call_are_unharmed(tmp_path: Path) -> None:
    path = tmp_path / "ran"
    with Bench() as bench:
        values = bench.do(chores.die_silently, [(str(path), x) for x in range(20)])
        failure = values.pop(13)
        assert values == [x for x in range(20) if x != 13]
        assert isinstance(failure, Failure)
        assert (failure.cause, failure.signal, failure.attempts) == (Cause.CRASHED, "SIGKILL", 3)
        assert "thirteen brings bad luck" in failure.message
        bench.settled(buried=1)
        peeked = bench.queue.peek(bench.farm.work, State.BURIED)
        assert peeked is not None
        buried = decode_job(bench.signer.open(peeked.body)[0])
        assert (buried.first, buried.count) == (13, 1)
        ran = Counter(path.read_text().split())
        assert ran["13"] == 3
        assert ran["19"] == 1


def test_a_death_is_seen_while_a_grandchild_holds_the_pipes(tmp_path: Path) -> None:
    path = tmp_path / "ran"
    with Bench() as bench:
        assert bench.failure(chores.die_with_grandchild, str(path)).cause is Cause.CRASHED
        for pid in map(int, path.read_text().split()):
            eventually(lambda pid=pid: not alive(pid))


def test_a_child_that_dies_between_jobs_costs_nobody_an_attempt() -> None:
    with Bench() as bench:
        for _ in range(3):
            pid = bench.one(chores.whoami, 0)
            os.kill(pid, signal.SIGKILL)
            eventually(lambda pid=pid: not alive(pid) or Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z")
            assert bench.one(chores.whoami, 0) != pid
            assert bench.outcomes[-1].attempt == 1


def test_a_kill_in_the_middle_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with Bench() as bench:
        job = bench.job(chores.poll_the_byte, [(str(path), 0.5)])
        pid = bench.one(chores.whoami, 0)
        bench.put(job)
        eventually(path.exists)
        os.kill(pid, signal.SIGKILL)
        assert bench.collect(job) == ["not stopped"]
        assert bench.outcomes[-1].attempt == 2
        bench.settled()


def test_a_hog_is_killed_at_its_memory_limit() -> None:
    limit = 150 * 2**20
    with Bench(memory_limit=limit) as bench:
        failure = bench.failure(chores.hog, 3 * limit)
        assert failure.cause is Cause.CRASHED
        assert "memory limit" in failure.message
        assert failure.peak > limit
        assert failure.attempts == 3
        assert bench.one(chores.add, 1, 1) == 2


def test_a_module_that_kills_its_process_takes_no_neighbour_for_ever(tmp_path: Path) -> None:
    (tmp_path / "poison_module.py").write_text("import os\nos._exit(9)\ndef f(x): return x\n")
    with Bench(path=(str(tmp_path),)) as bench:
        job = bench.job("poison_module:f", [(1,), (2,)], fingerprint="sha256:0")
        bench.put(job)
        values = bench.collect(job)
        assert [(v.cause, v.signal) for v in values] == [(Cause.CRASHED, "exit 9")] * 2
        bench.settled(buried=2)


def test_a_call_that_raises_is_tried_again_alone(tmp_path: Path) -> None:
    with Bench() as bench:
        paths = [tmp_path / name for name in "abc"]
        job = bench.job(chores.fail_until, [(str(paths[0]), 1), (str(paths[1]), 3), (str(paths[2]), 1)], retries=2)
        bench.put(job)
        assert bench.collect(job) == [1, 3, 1]
        assert [len(p.read_text().splitlines()) for p in paths] == [1, 3, 1]
        bench.settled()


def test_retries_end(tmp_path: Path) -> None:
    path = tmp_path / "ran"
    with Bench() as bench:
        failure = bench.failure(chores.fail_until, str(path), 99, retries=2)
        assert (failure.cause, failure.attempts, failure.message) == (Cause.RAISED, 3, "only 3 of 99")
        bench.settled()
