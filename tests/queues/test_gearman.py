"""Gearman, the real gearmand."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oche.errors import ConfigError, Disconnected, QueueError, QueueFull, TooLarge
from oche.queues.gearman import GearmanQueue, holds, line, moves
from oche.queues.gearman.names import Label, level, raised, signal_of
from oche.queues.seam import Queue, State, TubeStats
from oche.testing.queue_rig import Rig, take, until
from oche.testing.queue_rig import raised as raised_by
from oche.testing.queue_suite import QueueSuite
from oche.testing.servers import Beanstalkd, Gearmand, free_port, missing


@pytest.fixture
def server() -> Iterator[Gearmand]:
    missing("gearmand")
    with Gearmand() as server:
        yield server


def crash(queue: Queue) -> None:
    """Ends its connection as the death of its process would."""
    assert isinstance(queue, GearmanQueue)
    for each in queue._wire.lines:
        each.socket.shutdown(socket.SHUT_RDWR)


class TestGearmanQueue(QueueSuite):
    @pytest.fixture
    def rig(self, server: Gearmand) -> Rig:
        def restart() -> None:
            server.kill()
            server.start()

        return Rig(
            open=lambda: GearmanQueue.open(server.url),
            restart=restart,
            crash=crash,
            url=server.url,
            shortest_lease=0.2,
            leases_end_in_silence=False,
            plain_lines=True,
            returns_last=True,
            level=level,
        )


@pytest.fixture
def queue(server: Gearmand) -> Iterator[GearmanQueue]:
    with GearmanQueue.open(server.url) as queue:
        yield queue


@pytest.fixture
def other(server: Gearmand) -> Iterator[GearmanQueue]:
    with GearmanQueue.open(server.url) as queue:
        yield queue


def admin(server: Gearmand, command: str) -> str:
    """What the server answers to a line of text."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(command.encode() + b"\r\n")
        return connection.recv(2**16).decode(errors="replace")


def tool(server: Gearmand, *arguments: str, text: str = "") -> str:
    """What a program of gearman-tools prints."""
    missing(arguments[0])
    command = [arguments[0], "-h", "127.0.0.1", "-p", str(server.port), *arguments[1:]]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=20, check=True).stdout


def test_other_clients_see_our_jobs_take_them_and_put_theirs(server: Gearmand, queue: GearmanQueue) -> None:
    queue.put_many("shared", [b"ours", b"also ours"])
    held = take(queue, "shared")
    status = tool(server, "gearadmin", "--status")
    assert "shared\t2\t1\t1" in status.splitlines()
    assert tool(server, "gearman", "-w", "-n", "-c", "1", "-f", "shared").strip() == "also ours"
    queue.delete(held)
    tool(server, "gearman", "-b", "-f", "shared", "-u", "a key of theirs", text="theirs")
    tool(server, "gearman", "-b", "-f", "shared", text="")
    got = [take(queue, "shared"), take(queue, "shared")]
    assert [(delivery.body, queue.attempts(delivery)) for delivery in got] == [(b"theirs", 1), (b"", 1)]
    queue.release(got[0])
    assert take(queue, "shared").body == b"theirs"
    queue.delete(got[1])


def test_who_waits_for_another_clients_job_hears_when_it_is_done(
    server: Gearmand, queue: GearmanQueue, pool: ThreadPoolExecutor
) -> None:
    waiting = pool.submit(tool, server, "gearman", "-f", "foreground", text="theirs")
    held = queue.reserve(["foreground"], 10.0)
    assert held is not None
    assert held.body == b"theirs"
    queue.delete(held)
    assert waiting.result(10) == ""


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_three_levels_of_priority_hold_within_a_tube(queue: GearmanQueue) -> None:
    for priority in (2**32 - 1, 2**24, 2**16, 5, 0):
        queue.put("levels", b"%d" % priority, priority=priority)
    got = [int(take(queue, "levels").body) for _ in range(5)]
    assert got == [5, 0, 2**16, 2**32 - 1, 2**24]  # within a level, age decides


def test_a_job_stays_held_though_its_holder_watches_something_else(queue: GearmanQueue, other: GearmanQueue) -> None:
    for tube in ("one", "one", "two", "three"):
        queue.put(tube, tube.encode())
    held = [take(queue, "one"), take(queue, "two"), take(queue, "three", "one")]
    assert [delivery.body for delivery in held] == [b"one", b"two", b"three"]
    assert len(queue._wire.lines) == 3
    assert [other.stats(tube).reserved for tube in ("one", "two", "three")] == [1, 1, 1]
    assert take(queue, "three", "one").body == b"one"
    queue.delete_many(held[:2])
    assert len(queue._wire.lines) == 1
    until(
        lambda: [other.stats(tube).watching for tube in ("one", "two", "three")] == [1, 0, 1], "closed lines are gone"
    )
    crash(queue)
    until(lambda: other.stats("three").reserved == 0, "all is given back")
    until(lambda: other.stats("one").ready == 1, "this, too")
    until(lambda: other.stats("two") == TubeStats(0, 0, 0, 0, 0, 0), "nobody watches it")


def test_a_look_counts_for_nothing_but_the_place(queue: GearmanQueue, other: GearmanQueue) -> None:
    ids = queue.put_many("looked", [b"1", b"2", b"3"])
    queue.reserve(["looked"], 0.0)
    crash(queue)
    until(lambda: other.stats("looked").ready == 3, "it is given back")
    seen = []
    for _ in range(3):
        found = other.peek("looked", State.READY)
        assert found is not None
        seen.append(found.id)
    assert seen == [ids[1], ids[2], ids[0]]
    got = [take(other, "looked") for _ in range(3)]
    assert [(delivery.body, other.attempts(delivery)) for delivery in got] == [(b"2", 1), (b"3", 1), (b"1", 2)]


def test_where_a_listing_is_long_losses_are_counted_late(
    queue: GearmanQueue, other: GearmanQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "LONG", 0.0)
    other.put("long", b"x")
    held = take(other, "long")
    assert other.attempts(held) == 1
    other._holds._next_listing += 1000  # as if there were a million jobs
    other.release(held)
    take(queue, "long")
    crash(queue)
    held = take(other, "long")
    assert other.attempts(held) == 1
    other.release(held)
    other._holds._next_listing = 0.0
    assert other.attempts(take(other, "long")) == 1  # that loss is forgotten, as the copy is a new job to the server


def test_a_full_function_says_so(server: Gearmand, queue: GearmanQueue) -> None:
    queue.put("full", b"1")
    assert admin(server, "maxqueue full 2") == "OK\r\n"
    with pytest.raises(QueueFull, match="maxqueue"):
        queue.put_many("full", [b"2", b"3", b"4"])
    assert queue.stats("full").ready == 2
    queue.delete(take(queue, "full"))
    queue.put("full", b"5", lease=0.01)
    queue.delete(take(queue, "full"))
    late = take(queue, "full")
    queue.put("full", b"6")
    time.sleep(0.02)
    assert queue.stats("full").reserved == 1  # there is no room to put it back
    queue.delete(late)


def test_a_body_over_the_limit_stores_nothing(queue: GearmanQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "MAX_BODY", 10)
    with pytest.raises(TooLarge, match="store"):
        queue.put_many("large", [b"small", b"far too large"])
    assert queue.reserve(["large"], 0.0) is None
    queue.put("large", b"small")
    held = take(queue, "large")
    with pytest.raises(TooLarge):
        queue.bury(held, b"far too large")
    queue.delete(held)  # it is held still


def test_the_server_is_left_no_names_of_what_is_gone(
    server: Gearmand, queue: GearmanQueue, other: GearmanQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "EMPTY", 0.0)
    before = admin(server, "status") + "elsewhere.theirs\t0\t0\t0\n"
    queue.put("names.a", b"x", delay=0.01)
    held = queue.reserve(["names.a"], 5.0)
    assert held is not None
    queue.bury(held)
    queue.kick("names.a", 1)
    queue.delete(take(queue, "names.a"))
    queue.reserve(["elsewhere"], 0.0)
    assert other.tubes("names") == []
    queue._holds._next_look = 0.0
    queue.reserve(["elsewhere"], 0.01)
    queue.reserve(["names.b"], 0.01)
    admin(server, "create function elsewhere.theirs")
    assert other.tubes("elsewhere") == []
    assert other.tubes("names") == ["names.b"]
    queue.close()
    until(lambda: other.tubes("names") == [], "nobody watches")
    assert sorted(admin(server, "status").split()) == sorted(before.split())


def test_signals_differ_by_the_case_of_a_letter(queue: GearmanQueue) -> None:
    names = {"run.Night", "run.night", "Run.night", "^n", "a b:c\té"}
    for name in names:
        queue.signal(name)
    assert queue.signals("") == names
    queue.unsignal("run.night")
    assert queue.signals("run.") == {"run.Night"}


@given(st.text(max_size=50))
def test_the_name_of_a_signal_comes_back(name: str) -> None:
    function = raised(name)
    assert signal_of(function) == name
    assert function == function.lower()
    assert function.isascii()
    assert not set(function) & set(" \t\r\n\0")


@given(
    st.builds(
        Label,
        st.uuids().map(lambda uuid: uuid.hex),
        st.integers(0, 2),
        st.integers(1, 10**10 - 1).map(lambda milliseconds: milliseconds / 1000),
        st.integers(0, 99_999),
        st.integers(0, 10**6 - 1),
    ),
    st.integers(0, 10**9),
)
def test_a_label_fits_a_key_and_comes_back(label: Label, handed: int) -> None:
    assert Label.of(label.key()) == label
    again = label.again(handed)
    assert len(again.key()) <= 64
    assert Label.of(again.key()) == again != label


@given(st.binary(max_size=64))
def test_a_key_of_somebody_else_is_no_label(key: bytes) -> None:
    label = Label.of(key)
    assert (label.handed, label.level, label.lease) == (0, 1, 30.0)


def test_a_bell_that_rings_for_one_who_is_stopped_is_not_the_last(pool: ThreadPoolExecutor) -> None:
    missing("gearmand")
    program = (
        "import sys; from oche.queues.opening import open_queue; queue = open_queue(sys.argv[1]);"
        "print(flush=True); queue.reserve(['bell'], 60)"
    )
    with Gearmand(options=["--worker-wakeup=1"]) as server, GearmanQueue.open(server.url) as watcher:
        command = [sys.executable, "-c", program, server.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            try:
                until(lambda: watcher.stats("bell").waiting == 1, "it waits")
                os.kill(process.pid, signal.SIGSTOP)
                with GearmanQueue.open(server.url) as waiter:
                    waiting = pool.submit(waiter.reserve, ["bell"], 10.0)
                    until(lambda: watcher.stats("bell").waiting == 2, "we wait, too")
                    watcher.put("bell", b"x")
                    held = waiting.result(10)
                    assert held is not None
            finally:
                os.kill(process.pid, signal.SIGKILL)


def test_a_stopped_process_keeps_its_job_until_it_ends(queue: GearmanQueue, server: Gearmand) -> None:
    program = (
        "import sys, time; from oche.queues.opening import open_queue; queue = open_queue(sys.argv[1]);"
        "print(queue.reserve(['stopped'], 15).body, flush=True); time.sleep(60)"
    )
    queue.put("stopped", b"x", lease=0.1)
    with subprocess.Popen([sys.executable, "-c", program, server.url], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"b'x'\n"
            os.kill(process.pid, signal.SIGSTOP)
            assert queue.reserve(["stopped"], 0.5) is None
            assert not queue.traits.leases
        finally:
            os.kill(process.pid, signal.SIGKILL)
        assert queue.reserve(["stopped"], 10.0) is not None


def test_those_that_open_a_fresh_server_at_once_agree_on_its_life_in_the_end(server: Gearmand) -> None:
    with ThreadPoolExecutor(8) as pool:
        for queue in pool.map(lambda _: GearmanQueue.open(server.url), range(8)):
            queue.close()
    with GearmanQueue.open(server.url) as one, one.clone() as two:
        assert one.life == two.life != ""


@pytest.mark.parametrize(
    "url", ["gearman://", "gearman:///path", "gearman://h/path", "gearman://h:port", "gearman://me@h", "redis://h"]
)
def test_a_url_that_cannot_be_right(url: str) -> None:
    with pytest.raises(ConfigError, match=r"gearman://"):
        GearmanQueue.open(url)


def test_nobody_is_there_or_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Disconnected, match="start it or mend the URL"):
        GearmanQueue.open(f"gearman://localhost:{free_port()}")
    missing("beanstalkd")
    monkeypatch.setattr(line, "ANSWER", 0.3)
    with Beanstalkd() as server, pytest.raises(Disconnected, match="gearmand at"):
        GearmanQueue.open(f"gearman://127.0.0.1:{server.port}")


def test_what_a_tube_may_not_be(queue: GearmanQueue) -> None:
    for tube in ("a:b", "", "a b", "a\n", "x" * 201):
        with pytest.raises(ConfigError, match="without colons"):
            queue.put(tube, b"x")
        with pytest.raises(ConfigError, match="without colons"):
            queue.reserve([tube], 0.0)


def test_a_forked_child_may_not_use_it_and_closing_it_there_does_no_harm(queue: GearmanQueue) -> None:
    queue.put("forked", b"x")
    held = take(queue, "forked")
    child = os.fork()
    if child == 0:
        refused = raised_by(lambda: queue.delete(held)) is QueueError
        queue.close()
        os._exit(0 if refused else 1)
    assert os.waitpid(child, 0)[1] == 0
    queue.delete(held)


def test_functions_of_others_may_have_any_name(server: Gearmand, queue: GearmanQueue) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        for name in (b"two words", b"w\ta\tb\tc\nx", b"caf\xc3\xa9", b"\xff", b"T:delay:soon:1", b"a:b:c:d:e"):
            connection.sendall(line.packet(line.CAN_DO, name))
        until(lambda: "two words" in admin(server, "status"), "they are there")
        queue.put("T", b"x", delay=0.01)
        held = queue.reserve(["T"], 5.0)
        assert held is not None
        assert {"T", "a", "café", "two words"} <= set(queue.tubes(""))
        assert queue.stats("café").watching == 1
        assert queue.signals("") == set()
