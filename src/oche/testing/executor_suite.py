"""The conformance suite of executors: what PEP 3148 and the standard library's documents promise, a test each.

    from oche.testing.executor_suite import ExecutorSuite, Rig

    class TestMyEngine(ExecutorSuite):
        @pytest.fixture
        def rig(self):
            return Rig(open=lambda: oche.connect("mine:", max_workers=2), traits=MyEngine.traits)

What an engine cannot do, by its traits, is skipped with the reason; the engine's file tells why. The standard library's
own pools pass it too, so the promises are theirs and not ours alone. A cluster's own are in `cluster_suite`.
"""

from __future__ import annotations

import gc
import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    as_completed,
    wait,
)
from functools import partial
from pathlib import Path

import pytest

from oche.testing import executor_calls as calls
from oche.testing.executor_rig import PATIENCE, Bench, Held, lines, settled, submitted, until
from oche.testing.executor_rig import Rig as Rig


class ExecutorSuite(Bench):
    """Subclass it with a fixture `rig`."""

    # Results and exceptions

    def test_submit_gives_the_result(self, executor: Executor) -> None:
        assert executor.submit(calls.square, 12).result(PATIENCE) == 144
        assert executor.submit(calls.add, 1, b=2).result(PATIENCE) == 3
        assert executor.submit(partial(calls.add, b=5), 1).result(PATIENCE) == 6
        assert executor.submit(calls.keywords, 1, self=2, fn=3).result(PATIENCE) == ([1], {"self": 2, "fn": 3})

    def test_an_exception_is_the_callers_own_and_tells_where(self, executor: Executor) -> None:
        error = executor.submit(calls.fail, ValueError, "oops", 3).exception(PATIENCE)
        assert type(error) is ValueError
        assert error.args == ("oops", 3)
        assert "in fail" in "".join(traceback.format_exception(error))
        with pytest.raises(ValueError, match="oops"):
            executor.submit(calls.fail, ValueError, "oops").result(PATIENCE)
        odd = executor.submit(calls.fail_oddly).exception(PATIENCE)
        assert isinstance(odd, calls.OwnError)
        assert (odd.code, odd.text) == (7, "odd")

    @pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
    def test_whatever_a_call_raises_its_worker_goes_on(self, executor: Executor, kind: type[BaseException]) -> None:
        assert type(executor.submit(calls.fail, kind, 3).exception(PATIENCE)) is kind
        assert executor.submit(calls.square, 3).result(PATIENCE) == 9

    def test_a_result_that_is_not_there_in_time(self, executor: Executor, hold: Callable[[], Held]) -> None:
        held = hold()
        for ask in (held.futures[0].result, held.futures[0].exception):
            with pytest.raises(TimeoutError):
                ask(0.01)
        held.let_go()
        assert held.futures[0].result(PATIENCE) == "let go"

    def test_many_threads_may_submit(self, executor: Executor) -> None:
        answers: dict[int, list[int]] = {}

        def client(number: int) -> None:
            futures = [executor.submit(calls.square, number * 100 + i) for i in range(50)]
            answers[number] = [future.result(PATIENCE) for future in futures]

        threads = [threading.Thread(target=client, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert answers == {n: [(n * 100 + i) ** 2 for i in range(50)] for n in range(6)}

    # Callbacks

    def test_callbacks_are_called_once_in_order_with_the_future(
        self, executor: Executor, hold: Callable[[], Held], caplog: pytest.LogCaptureFixture
    ) -> None:
        told: list[tuple[str, object]] = []
        held = hold()
        future = held.futures[0]
        future.add_done_callback(lambda f: told.append(("first", f)))
        future.add_done_callback(lambda f: told.append(("second", f)) or 1 / 0)  # type: ignore[func-returns-value]
        future.add_done_callback(lambda f: told.append(("third", f)))
        held.let_go()
        future.result(PATIENCE)
        until(lambda: len(told) == 3, "the callbacks were called")
        future.add_done_callback(lambda f: told.append(("late", f)))
        assert told == [(name, future) for name in ("first", "second", "third", "late")]
        assert "ZeroDivisionError" in caplog.text

    def test_a_callback_may_submit(self, executor: Executor) -> None:
        second: list[Future[int]] = []
        executor.submit(calls.square, 3).add_done_callback(
            lambda f: second.append(executor.submit(calls.square, f.result()))
        )
        until(lambda: second, "the callback was called")
        assert second[0].result(PATIENCE) == 81

    # Cancelling

    def test_a_call_that_waits_is_cancelled_and_never_runs(
        self, executor: Executor, rig: Rig, hold: Callable[[], Held], tmp_path: Path
    ) -> None:
        held, path, told = hold(), tmp_path / "ran", list[Future[int]]()
        # A pool of processes takes some more calls than it can run, and those cannot be called back.
        futures = [executor.submit(calls.mark, str(path), i) for i in range(rig.slots + 8)]
        last = futures[-1]
        last.add_done_callback(told.append)
        assert last.cancel()
        assert last.cancel()
        assert last.cancelled()
        assert last.done()
        assert not last.running()
        assert told == [last]
        for ask in (last.result, last.exception):
            with pytest.raises(CancelledError):
                ask(PATIENCE)
        held.let_go()
        assert settled(futures[:-1]) == [None] * (rig.slots + 7)
        assert sorted(lines(path)) == list(range(rig.slots + 7))

    def test_what_is_done_cannot_be_cancelled(self, executor: Executor) -> None:
        future = executor.submit(calls.square, 3)
        assert future.result(PATIENCE) == 9
        assert not future.cancel()
        assert not future.cancelled()
        assert future.result() == 9

    # Shutdown

    def test_shutdown_waits_for_all_and_takes_no_more(self, rig: Rig, tmp_path: Path) -> None:
        path = tmp_path / "ran"
        executor = rig.open()
        futures = [executor.submit(calls.mark, str(path), i) for i in range(20)]
        executor.shutdown()
        assert all(future.done() for future in futures)
        assert sorted(lines(path)) == list(range(20))
        for late in (lambda: executor.submit(calls.square, 1), lambda: executor.map(calls.square, [1])):
            with pytest.raises(RuntimeError, match="shutdown"):
                late()
        executor.shutdown()
        executor.shutdown(wait=False, cancel_futures=True)

    def test_shutdown_without_waiting_returns_at_once(self, rig: Rig, tmp_path: Path) -> None:
        executor = rig.open()
        held = Held(executor, rig, tmp_path / "held")
        futures = [executor.submit(calls.square, i) for i in range(10)]
        begin = time.monotonic()
        executor.shutdown(wait=False)
        assert time.monotonic() - begin < 2.0
        assert not held.futures[0].done()
        with pytest.raises(RuntimeError):
            executor.submit(calls.square, 1)
        held.let_go()
        assert [future.result(PATIENCE) for future in futures] == [i * i for i in range(10)]

    def test_shutdown_may_cancel_what_waits(self, rig: Rig, tmp_path: Path) -> None:
        executor = rig.open()
        held, path = Held(executor, rig, tmp_path / "held"), tmp_path / "ran"
        futures = [executor.submit(calls.mark, str(path), i) for i in range(30)]
        closing = threading.Thread(target=lambda: executor.shutdown(cancel_futures=True))
        closing.start()
        until(lambda: futures[-1].done(), "what waited was cancelled")
        held.let_go()
        closing.join(PATIENCE)
        assert not closing.is_alive()
        assert all(future.done() for future in (*futures, *held.futures))
        cancelled = sum(future.cancelled() or type(future.exception()) is CancelledError for future in futures)
        assert cancelled >= 20
        # On a farm some were out already, and may have been taken before the word came that nobody wants them.
        assert len(lines(path)) <= 30 - cancelled + (0 if rig.standard else 4 * rig.slots)

    def test_the_block_ends_when_all_is_done(self, rig: Rig) -> None:
        with rig.open() as executor:
            futures = [executor.submit(calls.square, i) for i in range(10)]
        assert [future.result(0) for future in futures] == [i * i for i in range(10)]

    # wait and as_completed

    def test_wait(self, executor: Executor, hold: Callable[[], Held]) -> None:
        done = executor.submit(calls.square, 2)
        done.result(PATIENCE)
        held = hold()
        finished, pending = wait([done, *held.futures], PATIENCE, FIRST_COMPLETED)
        assert (finished, pending) == ({done}, set(held.futures))
        assert wait(held.futures, 0.01, ALL_COMPLETED) == (set(), set(held.futures))
        held.let_go()
        assert wait([done, *held.futures], PATIENCE).not_done == set()
        failed: Future[object] = executor.submit(calls.fail, ValueError)
        assert failed in wait([failed], PATIENCE, FIRST_EXCEPTION).done

    def test_as_completed(self, executor: Executor, hold: Callable[[], Held]) -> None:
        futures = [executor.submit(calls.square, i) for i in range(20)]
        assert set(as_completed([*futures, *futures], PATIENCE)) == set(futures)
        held = hold()
        with pytest.raises(TimeoutError):
            list(as_completed([futures[0], *held.futures], 0.05))
        held.futures[0].cancel()
        held.let_go()
        assert set(as_completed(held.futures, PATIENCE)) == set(held.futures)

    # map

    def test_map_is_ordered_and_ends_with_the_shortest(self, executor: Executor) -> None:
        assert list(executor.map(calls.square, range(300))) == [i * i for i in range(300)]
        assert list(executor.map(calls.add, [1, 2, 3], [10, 20])) == [11, 22]
        assert list(executor.map(calls.square, [])) == []
        assert list(executor.map(calls.square, range(50), chunksize=7)) == [i * i for i in range(50)]

    def test_map_raises_at_its_place(self, executor: Executor) -> None:
        results = executor.map(partial(calls.fail_on, bad=3), range(10), chunksize=1)
        assert list(itertools.islice(results, 3)) == [0, 1, 2]
        with pytest.raises(ValueError, match="bad 3"):
            next(results)
        assert next(results, None) is None

    def test_map_starts_at_once_and_times_out(self, executor: Executor, rig: Rig, tmp_path: Path) -> None:
        path = tmp_path / "held"
        begin = time.monotonic()
        results = executor.map(calls.hold, [str(path)] * rig.slots, timeout=0.5)
        until(lambda: lines(path), "it began before anybody asked")
        with pytest.raises(TimeoutError):
            list(results)
        assert time.monotonic() - begin < PATIENCE / 2
        Path(f"{path}.go").touch()
        assert executor.submit(calls.square, 4).result(PATIENCE) == 16

    def test_map_pulls_no_further_than_it_must(self, executor: Executor, rig: Rig) -> None:
        if rig.standard:
            pytest.skip("the standard library pulls all of a map's input at once")
        pulled = itertools.count()
        results = executor.map(calls.square, pulled)
        assert list(itertools.islice(results, 50)) == [i * i for i in range(50)]
        results.close()  # type: ignore[attr-defined]
        assert next(pulled) < 1_000_000
        assert executor.submit(calls.square, 5).result(PATIENCE) == 25

    # What is dropped

    def test_a_call_runs_though_nobody_keeps_its_future(self, executor: Executor, tmp_path: Path) -> None:
        path = tmp_path / "ran"
        for i in range(10):
            executor.submit(calls.mark, str(path), i)
        gc.collect()
        until(lambda: sorted(lines(path)) == list(range(10)), "all ran")

    def test_results_go_with_their_futures(self, executor: Executor) -> None:
        futures = [executor.submit(calls.keywords, i) for i in range(10)]
        wait(futures, PATIENCE)
        left = [weakref.ref(future) for future in futures]
        del futures
        executor.submit(calls.square, 1).result(PATIENCE)  # the last of them may be in somebody's hands until then
        until(lambda: gc.collect() >= 0 and not any(ref() for ref in left), "nobody holds them")

    def test_a_map_that_is_dropped_half_way_leaves_nothing_behind(self, executor: Executor) -> None:
        results = executor.map(calls.square, range(200))
        assert next(results) == 0
        del results
        gc.collect()
        assert executor.submit(calls.square, 6).result(PATIENCE) == 36

    def test_a_program_ends_when_what_is_out_is_done(self, rig: Rig, tmp_path: Path) -> None:
        if not rig.script:
            pytest.skip("the rig has no script")
        path, program = tmp_path / "ran", tmp_path / "program.py"
        program.write_text(
            f"from oche.testing import executor_calls as calls\n\n\nif __name__ == '__main__':\n"
            f"    {rig.script}\n"
            f"    for i in range(40):\n        executor.submit(calls.mark, {str(path)!r}, i)\n"
        )
        command = [sys.executable, str(program)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(lines(path)) == list(range(40))

    # What cannot travel, and recursion

    def test_what_cannot_travel_fails_alone(self, executor: Executor, rig: Rig) -> None:
        if rig.standard and not rig.separate:
            pytest.skip("the standard library's threads copy nothing")
        with pytest.raises((TypeError, AttributeError, ValueError)):
            executor.submit(calls.keywords, threading.Lock()).result(PATIENCE)
        assert executor.submit(calls.lock).exception(PATIENCE) is not None
        assert executor.submit(calls.square, 7).result(PATIENCE) == 49

    def test_what_cannot_be_received_fails_alone(self, executor: Executor, rig: Rig) -> None:
        if rig.standard:
            pytest.skip("the standard library's pool breaks with it, and its threads copy nothing")
        neighbours = [executor.submit(calls.square, i) for i in range(10)]
        error = executor.submit(calls.keywords, calls.Spoiled()).exception(PATIENCE)
        assert "spoiled" in str(error)
        assert [future.result(PATIENCE) for future in neighbours] == [i * i for i in range(10)]

    def test_recursion_ends_the_call_and_nothing_else(self, executor: Executor, rig: Rig) -> None:
        assert isinstance(executor.submit(calls.deep).exception(PATIENCE), RecursionError)
        if not rig.standard:
            with pytest.raises((RecursionError, TypeError, ValueError)):
                executor.submit(calls.keywords, calls.nested(100_000)).result(PATIENCE)
            assert executor.submit(calls.nested, 100_000).exception(PATIENCE) is not None
        assert executor.submit(calls.square, 8).result(PATIENCE) == 64

    def test_a_call_may_have_an_executor_of_its_own(self, executor: Executor) -> None:
        assert executor.submit(calls.within, 9).result(PATIENCE) == 81

    # A worker that is killed

    def test_a_worker_killed_under_a_call(
        self, executor: Executor, rig: Rig, hold: Callable[[], Held], caplog: pytest.LogCaptureFixture
    ) -> None:
        self._need_processes(rig)
        caplog.set_level(logging.CRITICAL)
        held = hold()
        os.kill(max(held.pids() - {os.getpid()}), signal.SIGKILL)
        others = submitted(executor, [partial(calls.square, i) for i in range(10)])
        held.let_go()
        errors = settled([*held.futures, *others])
        if rig.traits.survives:
            assert errors == [None] * (rig.slots + 10)
        else:
            assert any(isinstance(error, BrokenExecutor) for error in errors)
            with pytest.raises(BrokenExecutor):
                executor.submit(calls.square, 2).result(PATIENCE)

    def test_an_idle_worker_killed(self, executor: Executor, rig: Rig) -> None:
        self._need_processes(rig)
        os.kill(executor.submit(calls.process_id).result(PATIENCE), signal.SIGKILL)
        errors = settled(submitted(executor, [partial(calls.square, i) for i in range(10)]))
        if rig.traits.survives:
            assert errors == [None] * 10
        else:
            assert all(error is None or isinstance(error, BrokenExecutor) for error in errors)

    def test_a_call_that_kills_its_worker_once(self, executor: Executor, rig: Rig, tmp_path: Path) -> None:
        self._need_processes(rig)
        future = executor.submit(calls.die_once, str(tmp_path / "died"))
        if rig.traits.survives:
            assert future.result(PATIENCE) > 0
        else:
            assert isinstance(future.exception(PATIENCE), BrokenExecutor)

    def _need_processes(self, rig: Rig) -> None:
        if not rig.separate:
            pytest.skip("its calls run in this process: what kills one ends the program")
