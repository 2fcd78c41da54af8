"""RabbitMQ, the real one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from oche.errors import ConfigError, Disconnected, LeaseLost, QueueError, QueueFull
from oche.queues.seam import Queue, State
from oche.testing.queue_rig import Rig, delivered, raised, take, until, verbs
from oche.testing.queue_suite import QueueSuite
from oche.testing.servers import RabbitMQ, free_port, missing

pytest.importorskip("pika")
import pika

from oche.queues.rabbitmq import RabbitMQQueue, board, holds, names, wire

#: Milliseconds after which this broker ends the channel of a message that was not acknowledged.
IMPATIENT = 3500


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    missing("rabbitmq-server", "pika")
    settings = {"consumer_timeout": IMPATIENT, "channel_tick_interval": 200}
    with RabbitMQ(tmp_path_factory.mktemp("rabbitmq"), settings=settings) as server:
        yield server


def crash(queue: Queue) -> None:
    """Ends its connection as the death of its process would."""
    assert isinstance(queue, RabbitMQQueue)
    transport = queue._wire._connection._impl._transport
    transport._sock.shutdown(socket.SHUT_RDWR)


class TestRabbitMQQueue(QueueSuite):
    """A restart takes seconds, and has a test of its own below."""

    examples = 10

    @pytest.fixture
    def rig(self, server: RabbitMQ) -> Rig:
        return Rig(
            open=lambda: RabbitMQQueue.open(server.url),
            crash=crash,
            url=server.url,
            shortest_lease=0.2,
            plain_lines=True,
        )


@pytest.fixture
def queue(server: RabbitMQ) -> Iterator[Queue]:
    with RabbitMQQueue.open(server.url) as queue:
        yield queue


@pytest.fixture
def other(server: RabbitMQ) -> Iterator[Queue]:
    with RabbitMQQueue.open(server.url) as queue:
        yield queue


def test_a_killed_broker_keeps_all_it_has_taken_and_every_verb_of_before_is_disconnected(server: RabbitMQ) -> None:
    queue = RabbitMQQueue.open(server.url)
    for body in (b"buried", b"held", b"ready"):
        queue.put("kept", body)
    queue.put("kept", b"delayed", delay=1000)
    queue.signal("kept")
    queue.bury(take(queue, "kept"))
    held = take(queue, "kept")
    time.sleep(1.5)  # the broker waits for the disk where something is put, not where something is done with
    server.kill()
    assert raised(lambda: RabbitMQQueue.open(server.url)) is Disconnected
    server.start()
    for name, call in verbs(queue, "kept", held).items():
        assert raised(call) is Disconnected, name
    queue.close()
    with RabbitMQQueue.open(server.url) as later:
        first, second = take(later, "kept"), take(later, "kept")
        assert [first.body, second.body] == [b"held", b"ready"]
        assert (later.stats("kept").buried, later.stats("kept").delayed) == (1, 1)
        assert later.signals("kept") == {"kept"}
        for verb in (later.touch, later.release, later.bury, later.delete):
            with pytest.raises(LeaseLost):
                verb(held)


def test_within_a_tube_six_levels_of_priority_hold(queue: Queue) -> None:
    order = [0, 1, 4, 256, 2**16, 2**24, 2**32 - 1]
    for priority in reversed(order):
        queue.put("levels", b"%d" % priority, priority=priority)
    got = [int(take(queue, "levels").body) for _ in order]
    assert got == [*order[:-2], 2**32 - 1, 2**24]  # these two share a level, and age decides


def test_a_look_does_not_count_as_a_lost_holder(queue: Queue, other: Queue) -> None:
    ids = queue.put_many("looked", [b"1", b"2", b"3"])
    for _ in range(3):
        found = other.peek("looked", State.READY)
        assert found is not None
        assert found.id == ids[0]
    assert other.discard(ids[1])
    first, third = take(queue, "looked"), take(queue, "looked")
    assert [queue.attempts(first), queue.attempts(third)] == [1, 1]
    assert not other.discard(ids[0])
    crash(queue)
    again = take(other, "looked")
    assert other.attempts(again) == 2
    other.release(again)
    assert other.peek("looked", State.READY) is not None
    again = take(other, "looked")
    assert other.attempts(again) == 2


def test_a_stopped_process_loses_its_jobs_when_its_heartbeat_is_missed(server: RabbitMQ, queue: Queue) -> None:
    program = (
        "import sys, time; from oche.queues.opening import open_queue; queue = open_queue(sys.argv[1]);"
        "print(queue.reserve(['stopped'], 15).body, flush=True); time.sleep(60)"
    )
    queue.put("stopped", b"x", lease=1000)
    command = [sys.executable, "-c", program, f"{server.url}/%2F?heartbeat=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process, ThreadPoolExecutor(1) as pool:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"b'x'\n"
            assert queue.reserve(["stopped"], 3.5) is None  # its keeper keeps it alive
            waiting = pool.submit(queue.reserve, ["stopped"], 15.0)
            os.kill(process.pid, signal.SIGSTOP)
            assert queue.attempts(delivered(waiting)) == 2
        finally:
            os.kill(process.pid, signal.SIGKILL)


def test_a_job_held_for_long_is_exchanged_and_stays_its_holders(
    queue: Queue, other: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "LONG", 0.2)
    monkeypatch.setattr(names, "BACK", 500)
    monkeypatch.setattr(wire, "KEEP", 0.1)
    monkeypatch.setattr(holds, "KEEP", 0.1)
    id = queue.put("long", b"x")
    held = take(queue, "long")
    tags = set()
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        queue.touch(held)
        tags.add(held.handle.tag)  # type: ignore[attr-defined]
        assert other.reserve(["long"], 0.05) is None
    assert len(tags) >= 3
    assert queue.stats("long").reserved == 1
    assert queue.attempts(held) == 1
    queue.release(held)
    held = take(queue, "long")
    assert queue.attempts(held) == 1
    time.sleep(0.4)
    queue.touch(held)
    crash(queue)
    again = other.reserve(["long"], 10.0)
    assert again is not None
    assert (again.body, other.attempts(again)) == (b"x", 2)
    other.release(again, delay=1000)
    found = other.peek("long", State.DELAYED)
    assert found is not None
    assert found.id == id
    assert other.discard(id)
    other.reserve(["elsewhere"], 0.0)
    assert other.tubes("long") == []


def test_the_broker_ends_no_job_that_is_held_longer_than_it_likes(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "LONG", 1.0)
    queue.put("liked", b"x")
    held = take(queue, "liked")
    time.sleep(IMPATIENT / 1000 + 1.0)  # only the keeper is awake
    queue.touch(held)
    assert queue.stats("liked").reserved == 1
    queue.delete(held)
    assert queue.reserve(["liked"], 0.0) is None


def test_those_that_found_the_board_at_once_share_it(server: RabbitMQ) -> None:
    with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
        connection.channel().queue_delete(board.NAME)
    with ThreadPoolExecutor(6) as pool:
        queues = list(pool.map(lambda _: RabbitMQQueue.open(server.url), range(6)))
        list(pool.map(lambda pair: pair[1].signal(f"found.{pair[0]}"), enumerate(queues)))
        assert queues[0].signals("found") == {f"found.{number}" for number in range(6)}
        for queue in queues:
            queue.close()


def test_a_board_whose_founder_died_amid_it_is_founded_again(server: RabbitMQ) -> None:
    with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
        channel = connection.channel()
        for name in (board.NAME, board.FOUNDED):
            channel.queue_delete(name)
        channel.queue_declare(board.NAME, durable=True)
    with RabbitMQQueue.open(server.url) as queue:
        queue.signal("found")
        assert queue.signals("found") == {"found"}


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ("ConnectionClosedByBroker: (403) 'ACCESS_REFUSED - Login was refused'", True),
        ("ConnectionClosedByBroker: (530) 'NOT_ALLOWED - vhost x not found'", True),
        ("ConnectionClosedByBroker: (530) 'NOT_ALLOWED - connection limit (9) is reached'", False),
        ("ConnectionClosedByBroker: (541) 'INTERNAL_ERROR - vhost is down'", False),
        ("StreamLostError: ('Transport indicated EOF',)", False),
    ],
)
def test_who_is_refused_for_good(said: str, refused: bool) -> None:
    for kind in (pika.exceptions.ProbableAuthenticationError, pika.exceptions.ProbableAccessDeniedError):
        assert wire._refused(kind(said)) is refused
    assert not wire._refused(pika.exceptions.StreamLostError(said))


def test_a_board_that_was_lost_or_overwritten_is_told_of(
    server: RabbitMQ, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "PATIENCE", 0.2)
    with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
        channel = connection.channel()
        channel.queue_purge(board.NAME)
        with pytest.raises(QueueError, match="delete it, and it is made anew"):
            queue.signals("")
        channel.basic_publish("", board.NAME, b"not ours")
        with pytest.raises(QueueError, match="is not ours"):
            queue.signals("")
        channel.queue_delete(board.NAME)
    with pytest.raises(QueueError, match="404"):
        queue.signals("")
    assert raised(lambda: queue.signals("")) is Disconnected
    with queue.clone() as later:
        assert later.signals("") == set()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("amqp:///x", "amqp://user:password@host:5672"),
        ("redis://localhost", "amqp://user:password@host:5672"),
        ("amqp://localhost:port", "amqp://user:password@host:5672"),
        ("amqp://localhost/%2F?heartbeat=often", "amqp://user:password@host:5672"),
    ],
)
def test_a_url_that_cannot_be_right(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        RabbitMQQueue.open(url)


def test_who_may_not_come_in_is_told_what_to_mend(server: RabbitMQ) -> None:
    for url in (f"amqp://guest:wrong@127.0.0.1:{server.port}", f"{server.url}/nowhere"):
        with pytest.raises(ConfigError, match="mend user, password and virtual host"):
            RabbitMQQueue.open(url)


def test_nobody_is_there() -> None:
    with pytest.raises(Disconnected, match="RabbitMQ at localhost"):
        RabbitMQQueue.open(f"amqp://localhost:{free_port()}")


def test_a_full_broker_says_so_and_stores_nothing(
    server: RabbitMQ, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limit(share: float) -> None:
        command = ["rabbitmqctl", "set_vm_memory_high_watermark", str(share)]
        path = f"/usr/lib/rabbitmq/bin:{os.environ['PATH']}"
        program = shutil.which("rabbitmqctl", path=path)
        subprocess.run(command, executable=program, env=server.environment(), check=True, stdout=subprocess.DEVNULL)

    monkeypatch.setattr(wire, "BLOCKED", 0.5)
    limit(0.00001)
    try:
        with queue.clone() as clone:
            with pytest.raises(QueueFull, match="give it more"):
                clone.put("full", b"x")
            assert raised(lambda: clone.put("full", b"x")) is Disconnected
    finally:
        limit(0.4)
    assert queue.reserve(["full"], 0.0) is None


def test_a_queue_of_that_name_that_is_not_ours(server: RabbitMQ, queue: Queue) -> None:
    with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
        connection.channel().queue_declare("clash", durable=True)
    with pytest.raises(QueueError, match="406"):
        queue.reserve(["clash"], 0.0)
    assert raised(lambda: queue.reserve(["clash"], 0.0)) is Disconnected


def test_a_forked_child_may_not_use_it_and_closing_it_there_does_no_harm(queue: Queue) -> None:
    queue.put("forked", b"x")
    held = take(queue, "forked")
    child = os.fork()
    if child == 0:
        refused = raised(lambda: queue.delete(held)) is QueueError
        queue.close()
        os._exit(0 if refused else 1)
    assert os.waitpid(child, 0)[1] == 0
    queue.delete(held)


def test_what_a_tube_and_a_delay_may_not_be(queue: Queue) -> None:
    for tube in ("a:b", ""):
        with pytest.raises(ConfigError, match="without a colon"):
            queue.put(tube, b"x")
    with pytest.raises(ConfigError, match="49 days"):
        queue.put("t", b"x", delay=5e6)


def test_a_message_of_somebody_else_is_a_job_like_any(server: RabbitMQ, queue: Queue) -> None:
    queue.put("foreign", b"ours")
    parameters = pika.URLParameters(server.url)
    with pika.BlockingConnection(parameters) as connection:
        connection.channel().basic_publish("", "foreign", b"theirs")
    got = [take(queue, "foreign"), take(queue, "foreign")]
    assert sorted(delivery.body for delivery in got) == [b"ours", b"theirs"]
    assert [queue.attempts(delivery) for delivery in got] == [1, 1]
    queue.delete_many(got)
    until(lambda: queue.stats("foreign").reserved == 0, "they were gone")
