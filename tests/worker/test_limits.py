"""Time limits and stop signals, in all their grades; and code that is not what the caller has."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
import worker_chores as chores
from worker_bench import Bench, eventually

from oche.wire.job import Job
from oche.wire.outcome import Cause, Failure


def test_python_code_is_interrupted_at_its_time_limit(tmp_path: Path) -> None:
    path = tmp_path / "ran"
    with Bench() as bench:
        pid = bench.one(chores.whoami, 0)
        began = time.monotonic()
        failure = bench.failure(chores.nap_in_small, str(path), 60, timeout=0.3)
        assert time.monotonic() - began < 5
        assert failure.cause is Cause.TIMEOUT
        assert "0.3 s" in failure.message
        assert path.read_text().split() == ["begun", "finally"]
        assert bench.one(chores.whoami, 0) == pid


def test_only_the_slow_call_is_over_time() -> None:
    with Bench() as bench:
        values = bench.do(chores.nap, [(0.01,), (60.0,), (0.02,)], timeout=0.4)
        assert values[0] == 0.01
        assert values[1].cause is Cause.TIMEOUT
        assert values[2] == 0.02


def test_c_code_is_killed_beyond_its_time_limit() -> None:
    with Bench() as bench:
        began = time.monotonic()
        values = bench.do(chores.spin, [(10,), (10**12,), (20,)], timeout=0.2)
        assert time.monotonic() - began < 10
        assert (values[0], values[2]) == (45, 190)
        assert isinstance(values[1], Failure)
        assert (values[1].cause, values[1].signal) == (Cause.TIMEOUT, "SIGKILL")
        bench.settled()


def test_a_timeout_is_retried_if_the_task_says_so(tmp_path: Path) -> None:
    path = tmp_path / "ran"
    with Bench() as bench:
        failure = bench.failure(chores.nap_in_small, str(path), 60, timeout=0.2, retries=1)
        assert (failure.cause, failure.attempts) == (Cause.TIMEOUT, 2)
        assert path.read_text().split() == ["begun", "finally"] * 2


def call_off(bench: Bench, job: Job, path: Path, *, whole_run: bool = False) -> float:
    """Starts the job, raises the signal once it runs; returns the seconds until it was gone."""
    bench.put(job)
    eventually(path.exists)
    began = time.monotonic()
    farm = bench.farm
    bench.queue.signal(farm.stop_run(job.run) if whole_run else farm.stop_job(job.id))
    eventually(lambda: bench.worker.busy == 0)
    return time.monotonic() - began


@pytest.mark.parametrize("whole_run", [False, True])
def test_a_kernel_that_polls_the_byte_stops_at_once(tmp_path: Path, whole_run: bool) -> None:
    path = tmp_path / "ran"
    with Bench() as bench:
        pid = bench.one(chores.whoami, 0)
        job = bench.job(chores.poll_the_byte, [(str(path), 60)] * 3)
        assert call_off(bench, job, path, whole_run=whole_run) < 0.9
        assert path.read_text().splitlines() == ["begun", "saw it"]
        assert all(value.cause is Cause.CANCELLED for value in bench.collect(job))
        bench.settled()
        other = msgspec.structs.replace(bench.job(chores.whoami, [(0,)]), run="another")
        bench.put(other)
        assert bench.collect(other) == [pid]


def test_python_code_is_stopped_by_an_exception(tmp_path: Path) -> None:
    path = tmp_path / "ran"
    with Bench() as bench:
        assert 0.9 < call_off(bench, bench.job(chores.nap_in_small, [(str(path), 60)]), path) < 1.9
        assert path.read_text().split() == ["begun", "finally"]
        bench.settled()
        assert bench.one(chores.add, 1, 1) == 2


def test_what_lets_nothing_through_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "ran"
    with Bench() as bench:
        assert 1.9 < call_off(bench, bench.job(chores.stubborn, [(str(path), 60)]), path) < 6
        assert "laughs" in path.read_text()
        bench.settled()
        assert bench.one(chores.add, 1, 1) == 2
        assert bench.outcomes[-1].attempt == 1


def test_a_job_called_off_before_it_began_never_runs(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with Bench() as bench:
        running = bench.job(chores.poll_the_byte, [(str(first), 0.5)])
        waiting = bench.job(chores.mark, [(str(second),)])
        bench.put(running)
        bench.put(waiting)
        eventually(first.exists)
        bench.queue.signal(bench.farm.stop_job(waiting.id))
        assert bench.collect(running) == ["not stopped"]
        bench.settled()
        assert not second.exists()


def test_an_old_signal_that_was_taken_down_stops_nobody(tmp_path: Path) -> None:
    path = tmp_path / "ran"
    with Bench() as bench:
        name = bench.farm.stop_run(bench.run)
        call_off(bench, bench.job(chores.poll_the_byte, [(str(path), 60)]), path, whole_run=True)
        bench.queue.unsignal(name)
        assert bench.one(chores.add, 1, 1) == 2  # the run was resumed


def test_code_edited_under_a_running_worker_is_loaded_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    module = tmp_path / "edited.py"

    def write(text: str) -> str:
        module.write_text(text)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()[:16]

    old = write("def f(x): return 'old'\n")
    with Bench(path=(str(tmp_path),)) as bench:
        assert bench.one("edited:f", 1, fingerprint=old) == "old"
        new = write("def f(x):\n    return 'quite new'\n")
        assert bench.one("edited:f", 1, fingerprint=new) == "quite new"
        failure = bench.failure("edited:f", 1, fingerprint=old)  # nobody has that any more
        assert failure.cause is Cause.WRONG_CODE
        assert bench.failure("no_such_module_here:f", 1).cause is Cause.NOT_FOUND
        bench.settled()


def test_another_node_may_have_the_code(tmp_path: Path) -> None:
    (tmp_path / "only_there.py").write_text("def f(x): return x + 1\n")
    import hashlib

    print_ = "sha256:" + hashlib.sha256((tmp_path / "only_there.py").read_bytes()).hexdigest()[:16]
    with Bench() as without, Bench(without.queue, signer=without.signer, path=(str(tmp_path),)):
        eventually(lambda: without.queue.stats(without.farm.work).watching == 2)
        jobs = [without.job("only_there:f", [(i,)], fingerprint=print_) for i in range(4)]
        for job in jobs:
            without.put(job)
        # A node without the code may take a job again; three such takings in a row end it.
        values = [without.collect(job)[0] for job in jobs]
        assert any(value == i + 1 for i, value in enumerate(values))
        assert all(value == i + 1 or value.attempts == 3 for i, value in enumerate(values))
