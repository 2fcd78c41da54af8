"""The promises about single jobs: bodies, order, holding, and the states."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from oche.errors import LeaseLost, TooLarge
from oche.queues.seam import Queue, State
from oche.testing.queue_rig import PATIENCE, Bench, Rig, delivered, do, peeked, take, until


class JobPromises(Bench):
    """A part of `QueueSuite`."""

    # Bodies

    @pytest.mark.parametrize(
        "body",
        [b"", b"x", bytes(range(256)), b"\r\n", b"a\r\nOK 3\r\n\r\n", b"\0" * 1000, b"\r" * 65_000],
        ids=["empty", "one", "all values", "CRLF", "reply", "zeros", "large"],
    )
    def test_a_body_comes_back_bit_by_bit(self, queue: Queue, tube: str, body: bytes) -> None:
        queue.put(tube, body)
        assert take(queue, tube).body == body

    def test_a_body_at_the_limit_passes_and_one_over_it_is_refused_and_not_stored(
        self, queue: Queue, tube: str
    ) -> None:
        limit = queue.traits.max_body
        if limit is None:
            pytest.skip("this broker has no limit")
        body = os.urandom(min(limit, 2**16)) * -(-limit // min(limit, 2**16))
        queue.put(tube, body[:limit])
        assert take(queue, tube).body == body[:limit]
        with pytest.raises(TooLarge, match=str(limit)):
            queue.put(tube, body[:limit] + b"!")
        with pytest.raises(TooLarge):
            queue.put_many(tube, [b"small", body[:limit] + b"!"])
        got = queue.reserve([tube], 0.0)
        assert got is None or got.body == b"small"

    # Order

    def test_urgent_first_then_old_first(self, queue: Queue, tube: str) -> None:
        self.need(queue, "priority")
        for priority, body in [(7, b"c"), (2**32 - 1, b"e"), (0, b"a"), (7, b"d"), (1, b"b")]:
            queue.put(tube, body, priority=priority)
        assert [take(queue, tube).body for _ in range(5)] == [b"a", b"b", b"c", b"d", b"e"]

    def test_a_released_job_keeps_its_place(self, rig: Rig, queue: Queue, tube: str) -> None:
        if rig.returns_last:
            pytest.skip("with this broker it is the youngest then")
        if not rig.keeps_places:
            pytest.skip("this broker knows no places")
        queue.put(tube, b"old")
        queue.put(tube, b"new")
        queue.release(take(queue, tube))
        assert take(queue, tube).body == b"old"

    def test_several_tubes_are_one_line(self, queue: Queue, tube: str) -> None:
        self.need(queue, "priority")
        queue.put(tube + "a", b"second", priority=2)
        queue.put(tube + "b", b"first", priority=1)
        both = [tube + "a", tube + "b"]
        assert [d.body for d in (queue.reserve(both, 1.0), queue.reserve(both, 1.0)) if d] == [b"first", b"second"]
        queue.put(tube + "c", b"elsewhere")
        assert queue.reserve(both, 0.0) is None

    # Holding

    def test_a_job_has_one_holder(self, queue: Queue, other: Queue, tube: str) -> None:
        queue.put(tube, b"x")
        take(queue, tube)
        assert other.reserve([tube], 0.0) is None
        assert queue.reserve([tube], 0.0) is None

    def test_a_deleted_job_is_gone(self, queue: Queue, other: Queue, tube: str) -> None:
        queue.put(tube, b"x")
        held = take(queue, tube)
        queue.delete(held)
        queue.close()
        assert other.reserve([tube], 0.0) is None

    def test_attempts_count_deliveries_but_not_releases(
        self, rig: Rig, queue: Queue, other: Queue, connect: Callable[[], Queue], tube: str
    ) -> None:
        queue.put(tube, b"x")
        held = take(queue, tube)
        assert queue.attempts(held) == 1
        queue.release(held)
        held = take(queue, tube)
        assert queue.attempts(held) == 1
        rig.crash(queue)
        held = take(other, tube)
        assert other.attempts(held) == 2
        rig.crash(other)
        third = connect()
        assert third.attempts(take(third, tube)) == 3

    def test_attempts_may_be_asked_for_ahead(self, rig: Rig, queue: Queue, other: Queue, tube: str) -> None:
        queue.put(tube, b"x")
        other.foresee(take(other, tube))
        rig.crash(other)
        first = take(queue, tube)
        queue.foresee(first)
        queue.put(tube, b"y")
        second = take(queue, tube)
        assert queue.attempts(first) == 2
        queue.foresee(second)
        assert queue.attempts(first) == 2
        assert queue.attempts(second) == 1
        queue.foresee(second)
        queue.delete(second)
        queue.foresee(first)
        queue.delete(first)
        assert queue.reserve([tube], 0.0) is None

    @pytest.mark.parametrize("verb", ["touch", "release", "bury", "bury with body", "delete"])
    def test_a_spent_handle_is_lost_and_changes_nothing(self, queue: Queue, other: Queue, tube: str, verb: str) -> None:
        queue.put(tube, b"x")
        first = take(queue, tube)
        queue.release(first)
        with pytest.raises(LeaseLost):
            do(verb, queue, first)  # while it is ready
        second = take(queue, tube)
        with pytest.raises(LeaseLost):
            do(verb, queue, first)  # while the same connection holds it anew
        with pytest.raises(LeaseLost):
            do(verb, other, second)  # another connection's
        queue.release(second)
        third = take(other, tube)
        with pytest.raises(LeaseLost):
            do(verb, queue, second)  # while somebody else holds it
        assert third.body == b"x"
        other.delete(third)
        with pytest.raises(LeaseLost):
            do(verb, other, third)
        assert other.reserve([tube], 0.0) is None

    @pytest.mark.parametrize("verb", ["touch", "release", "bury", "bury with body", "delete"])
    def test_when_the_lease_ran_out_the_handle_is_lost_and_the_job_ready(
        self, rig: Rig, queue: Queue, other: Queue, tube: str, verb: str
    ) -> None:
        queue.put(tube, b"x", lease=rig.shortest_lease)
        held = take(queue, tube)
        self.run_out(rig, queue, other, tube)
        with pytest.raises(LeaseLost):
            do(verb, queue, held)
        again = take(other, tube)
        assert again.body == b"x"
        assert other.attempts(again) == 2
        with pytest.raises(LeaseLost):
            do(verb, queue, held)
        other.delete(again)

    def test_a_lease_that_is_touched_does_not_run_out(self, rig: Rig, queue: Queue, other: Queue, tube: str) -> None:
        self.need(queue, "touch")
        lease = max(rig.shortest_lease, 2.0 if rig.advance is None else 0.0)
        queue.put(tube, b"x", lease=lease)
        held = take(queue, tube)
        end = time.monotonic() + 1.5 * lease
        for _ in range(10):
            if rig.advance is not None:
                rig.advance(lease * 0.6)
            else:
                threading.Event().wait(max(0.0, min(0.3, end - time.monotonic())))
            queue.touch(held)
            assert other.reserve([tube], 0.0) is None
        queue.delete(held)

    def test_what_a_closed_connection_held_is_ready_at_once(
        self, rig: Rig, queue: Queue, other: Queue, tube: str
    ) -> None:
        queue.put_many(tube, [b"1", b"2"])
        take(queue, tube), take(queue, tube)
        queue.close()
        bodies = [take(other, tube).body, take(other, tube).body]
        assert bodies == ([b"2", b"1"] if rig.returns_last else [b"1", b"2"])

    def test_a_killed_process_loses_its_jobs_to_one_that_waits(
        self, rig: Rig, queue: Queue, other: Queue, tube: str, pool: ThreadPoolExecutor
    ) -> None:
        self.need(queue, "counts")
        if rig.url is None:
            pytest.skip("this broker serves no other process")
        program = (
            "import sys, time; from oche.queues.opening import open_queue; queue = open_queue(sys.argv[1]);"
            "print(queue.reserve([sys.argv[2]], 15).body, flush=True); time.sleep(60)"
        )
        with subprocess.Popen([sys.executable, "-c", program, rig.url, tube], stdout=subprocess.PIPE) as process:
            try:
                until(lambda: queue.stats(tube).waiting == 1, "the process waited")
                queue.put(tube, b"x", lease=1000)
                assert process.stdout is not None
                assert process.stdout.readline() == b"b'x'\n"
                waiting = pool.submit(other.reserve, [tube], PATIENCE)
                until(lambda: queue.stats(tube).waiting == 1, "we wait")
                assert not waiting.done()
            finally:
                os.kill(process.pid, signal.SIGKILL)
            killed = time.monotonic()
            assert delivered(waiting).body == b"x"
            assert time.monotonic() - killed < 5.0
        assert queue.stats(tube).watching == 1

    # States

    def test_a_delayed_job_comes_when_its_time_has_come(self, rig: Rig, queue: Queue, tube: str) -> None:
        self.need(queue, "delay")
        start = time.monotonic()
        queue.put(tube, b"late", delay=1.0)
        queue.put(tube, b"now")
        assert take(queue, tube).body == b"now"
        assert queue.reserve([tube], 0.0) is None
        if rig.advance is not None:
            rig.advance(1.01)
            assert take(queue, tube).body == b"late"
        else:
            late = queue.reserve([tube], PATIENCE)
            assert late is not None
            assert late.body == b"late"
            assert 0.99 < time.monotonic() - start < 3.0

    def test_buried_is_set_aside_until_kicked(self, queue: Queue, tube: str) -> None:
        self.need(queue, "bury", "peek")
        queue.put(tube, b"bad", priority=3)
        queue.bury(take(queue, tube))
        assert queue.reserve([tube], 0.0) is None
        assert peeked(queue, tube, State.BURIED) == b"bad"
        assert queue.kick(tube, 10) == 1
        assert queue.kick(tube, 10) == 0
        queue.put(tube, b"less urgent", priority=4)
        assert take(queue, tube).body == b"bad"

    def test_bury_can_leave_the_reason_in_the_body(self, queue: Queue, other: Queue, tube: str) -> None:
        self.need(queue, "bury", "peek")
        queue.put(tube, b"bad", priority=3)
        queue.bury(take(queue, tube), b"bad, because")
        assert other.reserve([tube], 0.0) is None
        assert peeked(queue, tube, State.BURIED) == b"bad, because"
        assert queue.stats(tube).buried == 1
        queue.close()
        assert other.reserve([tube], 0.0) is None
        other.put(tube, b"less urgent", priority=2**16)
        assert other.kick(tube, 10) == 1
        held = take(other, tube)
        assert held.body == b"bad, because"
        assert other.attempts(held) >= 1

    def test_kick_takes_the_buried_first_and_heeds_its_limit(self, rig: Rig, queue: Queue, tube: str) -> None:
        self.need(queue, "bury", "delay")
        queue.put(tube, b"delayed", delay=1000)
        for _ in range(3):
            queue.put(tube, b"buried")
        for _ in range(3):
            queue.bury(take(queue, tube))
        assert queue.kick(tube, 0) == 0
        assert queue.kick(tube, 2) == 2
        assert [take(queue, tube).body, take(queue, tube).body] == [b"buried", b"buried"]
        assert queue.kick(tube, 2) == 1
        assert take(queue, tube).body == b"buried"
        assert queue.kick(tube, 2) == int(rig.kicks_delayed)
        if rig.kicks_delayed:
            assert take(queue, tube).body == b"delayed"

    def test_peek_shows_the_next_without_taking_it(self, queue: Queue, other: Queue, tube: str) -> None:
        self.need(queue, "peek", "delay")
        for state in (State.READY, State.DELAYED, State.BURIED):
            assert queue.peek(tube, state) is None
        queue.put(tube, b"later")
        id = queue.put(tube, b"next", priority=1)
        queue.put(tube, b"far", delay=2000)
        queue.put(tube, b"near", delay=1000)
        found = other.peek(tube, State.READY)
        assert found is not None
        assert (found.id, found.body) == (id, b"next")
        assert peeked(other, tube, State.DELAYED) == b"near"
        assert take(queue, tube).body == b"next"

    def test_discard_deletes_what_nobody_holds(self, queue: Queue, other: Queue, tube: str) -> None:
        self.need(queue, "peek", "delay", "bury")
        buried = queue.put(tube, b"buried")
        queue.bury(take(queue, tube))
        held = queue.put(tube, b"held")
        delivery = take(queue, tube)
        ready, delayed = queue.put(tube, b"ready"), queue.put(tube, b"delayed", delay=1000)
        assert not other.discard(held)
        assert not queue.discard(held)
        for id in (ready, delayed, buried):
            assert other.discard(id)
            assert not other.discard(id)
        assert not other.discard("no such id")
        queue.delete(delivery)
        assert queue.kick(tube, 10) == 0
        assert queue.reserve([tube], 0.0) is None
