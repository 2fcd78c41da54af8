"""What comes back: values, failures, what was printed; and where a task runs."""

from __future__ import annotations

import operator
import pickle
import time
from collections.abc import Iterator

import pytest
import worker_chores as chores
from worker_bench import Bench

from oche.wire.outcome import Cause, Failure
from oche.worker import context


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Bench() as bench:
        yield bench


def test_values_come_back_in_order(bench: Bench) -> None:
    assert bench.do(operator.neg, [(i,) for i in range(1000)]) == [-i for i in range(1000)]
    assert bench.do(chores.double, [("a",), ((1, 2),), ([],)]) == ["aa", (1, 2, 1, 2), []]


def test_a_function_by_value_with_keywords(bench: Bench) -> None:
    factor = 3
    assert bench.one(lambda x: x * factor, 5) == 15
    job = bench.job(chores.add, [(1,)], raw=b'[{"args": [1], "kwargs": {"y": 41}}]')
    bench.put(job)
    assert bench.collect(job) == [42]


def test_a_call_that_raises_is_one_failed_call(bench: Bench) -> None:
    values = bench.do(chores.fail_odd, [(i,) for i in range(6)])
    assert values[::2] == [0, 2, 4]
    for i in (1, 3, 5):
        failure = values[i]
        assert isinstance(failure, Failure)
        assert (failure.cause, failure.exception) == (Cause.RAISED, "builtins:ValueError")
        assert failure.message == f"{i} is odd"
        assert "fail_odd" in failure.traceback
        assert "running.py" not in failure.traceback


@pytest.mark.parametrize(
    ("task", "name"),
    [
        (chores.exit_odd, "SystemExit"),
        (chores.interrupt, "KeyboardInterrupt"),
        (chores.recurse, "RecursionError"),
        (chores.no_memory, "MemoryError"),
    ],
)
def test_nothing_that_a_call_raises_ends_the_child(bench: Bench, task: object, name: str) -> None:
    before = bench.one(chores.whoami, 0)
    failure = bench.failure(task, 1)  # type: ignore[arg-type]
    assert (failure.cause, failure.exception) == (Cause.RAISED, f"builtins:{name}")
    assert bench.one(chores.whoami, 0) == before


def test_a_result_that_cannot_travel_fails_alone(bench: Bench) -> None:
    values = bench.do(chores.lock_odd, [(i,) for i in range(4)])
    assert values[::2] == [0, 2]
    assert all(isinstance(v, Failure) and v.cause is Cause.UNSENDABLE and "lock" in v.message for v in values[1::2])


def test_arguments_that_cannot_be_rebuilt_fail_alone(bench: Bench) -> None:
    import base64

    import msgspec

    broken = base64.b64encode(b"\x80\x05cno_such_module\nThing\n.").decode()
    calls = msgspec.json.encode([[1], [{"$pickle": broken, "repr": "Thing()"}], [3]])
    job = bench.job(operator.neg, [(1,), (2,), (3,)], raw=calls)
    bench.put(job)
    values = bench.collect(job)
    assert isinstance(values[1], Failure)
    if values[1].cause is not Cause.REFUSED:  # the codec may call the whole job a bad message
        assert (values[0], values[2]) == (-1, -3)


def test_what_is_printed_comes_along(bench: Bench) -> None:
    assert bench.do(chores.whisper, [("one",), ("zwei ü",)]) == ["one", "zwei ü"]
    output = dict(bench.outcomes[-1].output)
    assert output["stdout"] == "one\nzwei ü\n"
    assert "err one\n" in output["stderr"]
    assert "log zwei ü\n" in output["stderr"]
    assert bench.one(operator.neg, 1) == -1
    assert bench.outcomes[-1].output == []  # the next job's outcome does not repeat it


def test_100_megabytes_printed(bench: Bench) -> None:
    began = time.monotonic()
    assert bench.one(chores.shout, 1_000_000) == 1_000_000
    seconds = time.monotonic() - began
    text = dict(bench.outcomes[-1].output)["stdout"]
    assert text.startswith("first line\n")
    assert text.endswith("last line\n")
    assert "bytes left out" in text
    assert len(text) < 20_000
    assert seconds < 20


def test_a_task_knows_where_it_runs(bench: Bench) -> None:
    job = bench.job(chores.where, [(0,), (0,)], first=5)
    bench.put(job)
    first, second = bench.collect(job)
    assert first[:4] == (bench.run, job.id, 5, 1)
    assert second[2] == 6
    host, pid, slots = bench.worker.name.rsplit(".", 2)
    assert (first[4], slots) == (f"{host}:{pid}/0", "1")
    assert first[5:] == (False, 0)


def test_outside_a_worker_the_context_is_empty() -> None:
    assert context.current() is None
    assert context.stopping() is False
    byte = context.stop_byte()
    byte[0] = 1
    assert context.stop_byte()[0] == 0
    assert context.stopping() is False


def test_the_outcome_says_who_and_how_long(bench: Bench) -> None:
    bench.one(chores.nap, 0.05)
    outcome = bench.outcomes[-1]
    assert outcome.seconds >= 0.05
    assert 4 * 2**20 < outcome.peak < 2**30
    assert outcome.slots == 1
    assert outcome.attempt == 1


def test_threads_are_shared_out_unless_the_user_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "7")
    with Bench(slots=64, start=False) as other:
        from oche.worker.crew import child_environment

        assert child_environment(64)["OMP_NUM_THREADS"] == "1"
        assert child_environment(64)["NUMBA_NUM_THREADS"] == "7"
        del other


def test_an_initializer_runs_once_in_each_child() -> None:
    with Bench(initializer=pickle.dumps((chores.remember, (17,)))) as bench:
        assert bench.do(chores.remembered, [(0,), (1,)]) == ["17", "17"]


def test_a_failing_initializer_is_told() -> None:
    with Bench(initializer=pickle.dumps((chores.refuse_to_start, ()))) as bench:
        assert bench.worker.join(20.0)
        assert bench.worker.failed is not None
        assert "no licence" in bench.worker.failed
        assert bench.failed == [bench.worker.failed]


def test_children_are_recycled() -> None:
    with Bench(max_jobs=2) as bench:
        pids = [bench.one(chores.whoami, i) for i in range(6)]
        assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4] == pids[5]
    with Bench(max_rss=2**20) as bench:  # any child holds more
        assert bench.one(chores.whoami, 0) != bench.one(chores.whoami, 0)


def test_two_slots_are_two_processes() -> None:
    with Bench(slots=2) as bench:
        jobs = [bench.job(chores.nap, [(0.3,)]) for _ in range(2)]
        for job in jobs:
            bench.put(job)
        began = time.monotonic()
        for job in jobs:
            bench.collect(job)
        assert {outcome.worker[-2:] for outcome in bench.outcomes} <= {"/0", "/1"}
        assert time.monotonic() - began < 25
