"""The conformance suite of queues: each promise of `oche.queues.seam` is a test, and a driver passes them all.

    from oche.testing.queue_suite import QueueSuite, Rig

    class TestMyQueue(QueueSuite):
        @pytest.fixture
        def rig(self):
            with MyServer() as server:
                yield Rig(open=lambda: MyQueue.open(server.url), restart=server.restart)

What a broker cannot do, by its traits or its rig, is skipped with the reason. The last test lets Hypothesis
invent sequences of verbs, deaths and restarts and compares each step with a model of a few lines, `Model`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from oche.errors import Closed, Disconnected, LeaseLost
from oche.queues.seam import DEFAULT_LEASE, Queue, TubeStats
from oche.testing.queue_jobs import JobPromises
from oche.testing.queue_model import Model
from oche.testing.queue_rig import PATIENCE, delivered, do, raised, take, take_all, until, verbs
from oche.testing.queue_rig import Rig as Rig


class QueueSuite(JobPromises):
    """Subclass it with a fixture `rig`."""

    #: Sequences that Hypothesis tries, and verbs in each; OCHE_EXAMPLES in the environment overrides the first.
    examples, steps = 30, 40

    # Waiting

    def test_nothing_comes_is_none_and_in_time(self, rig: Rig, queue: Queue, tube: str) -> None:
        if rig.advance is not None:
            pytest.skip("a clock that is moved by hand says nothing of time")
        start = time.monotonic()
        assert queue.reserve([tube], 0.0) is None
        assert time.monotonic() - start < 0.5
        assert queue.reserve([tube], 0.2) is None
        assert 0.19 < time.monotonic() - start < 2.5

    def test_a_put_wakes_one_of_those_who_wait(
        self, queue: Queue, connect: Callable[[], Queue], tube: str, pool: ThreadPoolExecutor
    ) -> None:
        self.need(queue, "counts")
        waiting = [pool.submit(connect().reserve, [tube], PATIENCE) for _ in range(3)]
        until(lambda: queue.stats(tube).waiting == 3, "three waited")
        for number in range(3):
            start = time.monotonic()
            queue.put(tube, b"%d" % number)
            until(lambda: sum(future.done() for future in waiting) > number, "one was woken")  # noqa: B023
            assert time.monotonic() - start < 1.0
            assert queue.stats(tube).waiting == 2 - number
        assert sorted(delivered(future).body for future in waiting) == [b"0", b"1", b"2"]

    @pytest.mark.parametrize("how", ["release", "kick", "delay", "close", "lease"])
    def test_a_job_that_is_ready_again_wakes_who_waits(
        self, rig: Rig, queue: Queue, other: Queue, connect: Callable[[], Queue], tube: str,
        pool: ThreadPoolExecutor, how: str,
    ) -> None:  # fmt: skip
        self.need(queue, "counts", "delay", "bury")
        if how in ("lease", "delay") and rig.advance is not None:
            pytest.skip("who waits in real time does not see a clock that is moved by hand")
        queue.put(tube, b"x", lease=rig.shortest_lease if how == "lease" else DEFAULT_LEASE)
        held = take(queue, tube)
        if how == "kick":
            queue.bury(held)
        waiting = pool.submit(other.reserve, [tube], PATIENCE)
        watcher = connect()
        until(lambda: watcher.stats(tube).waiting == 1 or (how == "lease" and waiting.done()), "one waited")
        start = time.monotonic()
        if how == "release":
            queue.release(held)
        elif how == "kick":
            assert queue.kick(tube, 1) == 1
        elif how == "delay":
            queue.release(held, delay=0.3)
        elif how == "close":
            queue.close()
        else:
            until(lambda: rig.ran_out(queue, watcher, tube) or waiting.done(), "the lease had run out")
        assert delivered(waiting).body == b"x"
        assert time.monotonic() - start < (3.5 if how in ("lease", "delay") else 1.0)

    def test_a_delay_that_begins_while_one_waits_wakes_it_when_it_is_over(
        self, rig: Rig, queue: Queue, other: Queue, tube: str, pool: ThreadPoolExecutor
    ) -> None:
        self.need(queue, "counts", "delay")
        if rig.advance is not None:
            pytest.skip("who waits in real time does not see a clock that is moved by hand")
        waiting = pool.submit(other.reserve, [tube], PATIENCE)
        until(lambda: queue.stats(tube).waiting == 1, "one waited")
        start = time.monotonic()
        queue.put(tube, b"x", delay=0.3)
        assert delivered(waiting).body == b"x"
        assert 0.29 < time.monotonic() - start < 3.0

    def test_close_from_another_thread_ends_a_wait(
        self, queue: Queue, other: Queue, tube: str, pool: ThreadPoolExecutor
    ) -> None:
        waiting = pool.submit(queue.reserve, [tube], PATIENCE)
        if queue.traits.counts:
            until(lambda: other.stats(tube).waiting == 1, "it waited")
        queue.close()
        with pytest.raises(Closed):
            waiting.result(5.0)
        other.put(tube, b"x")
        assert take(other, tube).body == b"x"

    def test_every_verb_of_a_closed_queue_raises_closed(self, queue: Queue, other: Queue, tube: str) -> None:
        queue.put(tube, b"x")
        held = take(queue, tube)
        queue.close()
        queue.close()
        for name, call in verbs(queue, tube, held).items():
            assert raised(call) is Closed, name
        assert take(other, tube).body == b"x"

    def test_a_clone_is_a_connection_of_its_own(self, queue: Queue, tube: str) -> None:
        queue.put(tube, b"x")
        with queue.clone() as clone:
            held = take(clone, tube)
            with pytest.raises(LeaseLost):
                queue.delete(held)
            queue.close()
            clone.delete(held)
            assert clone.traits == queue.traits

    # Looking

    def test_stats_count_each_state(self, rig: Rig, queue: Queue, other: Queue, tube: str) -> None:
        self.need(queue, "counts", "delay", "bury")
        assert other.stats(tube) == TubeStats(0, 0, 0, 0, 0, 0)
        for _ in range(2):
            queue.put(tube, b"to bury")
            queue.bury(take(queue, tube))
        for _ in range(3):
            queue.put(tube, b"to hold")
            take(queue, tube)
        for _ in range(4):
            queue.put(tube, b"ready")
        for _ in range(5):
            queue.put(tube, b"delayed", delay=1000)
        counts = TubeStats(ready=4, reserved=3, delayed=5, buried=2, watching=1, waiting=0)
        assert rig.waits(other.stats(tube), 4) == counts

    def test_who_reserves_is_seen_until_it_reserves_elsewhere_or_goes(
        self, rig: Rig, queue: Queue, other: Queue, connect: Callable[[], Queue], tube: str, pool: ThreadPoolExecutor
    ) -> None:
        self.need(queue, "counts")
        presence, work = tube + ".presence", tube + ".work"
        queue.reserve([presence, work], 0.0)
        other.reserve([work], 0.0)
        watcher = connect()
        assert [watcher.stats(name).watching for name in (presence, work)] == [1, 2]
        assert watcher.tubes(tube) == [presence, work]
        assert watcher.tubes(presence) == [presence]
        queue.put(work, b"x")
        take(queue, presence, work)
        assert watcher.tubes(presence) == [presence]  # also while it works
        queue.reserve([work], 0.0)
        assert watcher.tubes(presence) == []
        waiting = pool.submit(other.reserve, [presence], PATIENCE)
        until(lambda: watcher.stats(presence).waiting == 1, "it waited")
        assert watcher.stats(presence).watching == 1
        other.close()
        with pytest.raises(Closed):
            waiting.result(5.0)
        rig.crash(queue)
        until(lambda: watcher.stats(work).watching == 0, "nobody was there")
        until(lambda: watcher.stats(presence).watching == 0, "nobody was there")

    def test_tubes_that_are_empty_and_unwatched_are_not_listed(self, queue: Queue, other: Queue, tube: str) -> None:
        assert other.tubes(tube) == []
        queue.put(tube + "b", b"x")
        queue.put(tube + "a", b"x", delay=1000)
        assert other.tubes(tube) == [tube + "a", tube + "b"]
        queue.delete(take(queue, tube + "b"))
        queue.reserve([tube + "c"], 0.0)
        queue.put(tube + "b", b"x")
        queue.delete(take(queue, tube + "b"))
        queue.reserve([tube + "c"], 0.0)
        assert other.tubes(tube) == [tube + "a", tube + "c"]

    def test_signals_are_seen_by_all(self, queue: Queue, other: Queue, tube: str) -> None:
        self.need(queue, "signal")
        assert other.signals(tube) == set()
        queue.signal(tube + ".a")
        queue.signal(tube + ".a")
        queue.signal(tube + ".b")
        assert other.signals(tube) == {tube + ".a", tube + ".b"}
        assert other.signals(tube + ".b") == {tube + ".b"}
        assert not any(tube in name for name in other.tubes(""))
        other.unsignal(tube + ".a")
        other.unsignal(tube + ".never raised")
        assert queue.signals(tube) == other.signals(tube) == {tube + ".b"}
        queue.unsignal(tube + ".b")
        assert queue.signals(tube) == other.signals(tube) == set()

    # Many at once

    def test_many_go_in_order_and_come_in_order(self, queue: Queue, other: Queue, tube: str) -> None:
        bodies = [b"%d" % number * (number % 700) for number in range(1000)]
        ids = queue.put_many(tube, bodies)
        assert len(set(ids)) == 1000
        first = other.reserve_many([tube], 1, 1.0)
        rest = take_all(other, tube, 2000)
        assert [d.body for d in first + rest] == bodies
        with suppress(LeaseLost):
            other.release(rest[0])
        other.delete_many(first + rest)  # one of them is no longer held
        assert [d.body for d in other.reserve_many([tube], 10, 0.0)] == [bodies[1]]
        assert queue.put_many(tube, []) == []
        other.delete_many([])

    def test_many_large_bodies_do_not_clog_the_connection(self, queue: Queue, tube: str) -> None:
        size = min(queue.traits.max_body or 2**16, 2**16 - 1)
        bodies = [bytes([number]) * size for number in range(200)]
        queue.put_many(tube, bodies)
        got = take_all(queue, tube, 200)
        assert [d.body for d in got] == bodies
        queue.delete_many(got)

    def test_reserve_many_waits_for_the_first_only(
        self, queue: Queue, other: Queue, tube: str, pool: ThreadPoolExecutor
    ) -> None:
        assert queue.reserve_many([tube], 5, 0.0) == []
        waiting = pool.submit(queue.reserve_many, [tube], 5, PATIENCE)
        if queue.traits.counts:
            until(lambda: other.stats(tube).waiting == 1, "it waited")
        other.put(tube, b"x")
        assert [d.body for d in waiting.result(PATIENCE)] == [b"x"]

    # Restarts

    def test_after_a_restart_every_verb_is_disconnected_for_good(self, rig: Rig, queue: Queue, tube: str) -> None:
        if rig.restart is None:
            pytest.skip("this broker cannot be restarted")
        queue.put(tube, b"x")
        held = take(queue, tube)
        rig.restart()
        for _ in range(2):
            for name, call in verbs(queue, tube, held).items():
                assert raised(call) is Disconnected, name

    def test_a_restart_keeps_what_a_durable_broker_has_taken(
        self, rig: Rig, queue: Queue, connect: Callable[[], Queue], tube: str
    ) -> None:
        self.need(queue, "durable")
        if rig.restart is None:
            pytest.skip("this broker cannot be restarted")
        for body in (b"buried", b"held", b"ready"):
            queue.put(tube, body)
        queue.put(tube, b"delayed", delay=1000)
        queue.bury(take(queue, tube))
        take(queue, tube)
        rig.restart()
        later = connect()
        assert [take(later, tube).body, take(later, tube).body] == [b"held", b"ready"]
        assert (later.stats(tube).buried, later.stats(tube).delayed) == (1, 1)

    def test_a_broker_that_forgets_has_a_life_and_a_name_for_it(
        self, rig: Rig, queue: Queue, other: Queue, connect: Callable[[], Queue]
    ) -> None:
        assert (queue.life == "") is queue.traits.durable or rig.restart is None
        assert queue.life == other.life
        if rig.restart is not None:
            before = queue.life
            rig.restart()
            assert (connect().life == before) is queue.traits.durable

    def test_a_handle_from_before_a_restart_never_reaches_a_new_job(
        self, rig: Rig, queue: Queue, connect: Callable[[], Queue], tube: str
    ) -> None:
        if rig.restart is None:
            pytest.skip("this broker cannot be restarted")
        queue.put(tube, b"old")
        held = take(queue, tube)
        rig.restart()
        later = connect()
        later.put(tube, b"new")
        for _ in range(later.stats(tube).ready - 1):
            later.delete(take(later, tube))
        mine = take(later, tube)
        for verb in ("touch", "release", "bury", "delete"):
            with pytest.raises(Disconnected):
                do(verb, queue, held)
            with pytest.raises(LeaseLost):
                do(verb, later, held)
        later.delete(mine)

    # What it stands on

    def test_a_server_tells_of_itself_in_plain_values_and_nothing_changes(self, queue: Queue, tube: str) -> None:
        queue.put(tube, b"job")
        before = queue.stats(tube)
        told = queue.inspect()
        if not told:
            pytest.skip("this driver tells nothing of its server")
        assert str(told["version"])[0].isdecimal()
        assert all(type(name) is str and type(value) in (str, int, float, bool) for name, value in told.items())
        assert queue.stats(tube) == before
        assert take(queue, tube).body == b"job"

    # Everything

    def test_any_sequence_of_verbs_agrees_with_the_model(self, rig: Rig) -> None:
        class Bound(Model):
            def __init__(self) -> None:
                super().__init__(rig)

        run_state_machine_as_test(
            Bound,
            settings=settings(
                max_examples=int(os.environ.get("OCHE_EXAMPLES", self.examples)),
                stateful_step_count=self.steps,
                deadline=None,
                database=None,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
