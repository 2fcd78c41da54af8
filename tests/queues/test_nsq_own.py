"""NSQ, the real one: what is its own. The promises of every queue are in test_nsq."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oche.errors import ConfigError, Disconnected, LeaseLost, TooLarge, Unsupported
from oche.queues.seam import State
from oche.testing.faults import Proxy, torn
from oche.testing.queue_rig import raised, take, until, verbs
from oche.testing.servers import NSQD, NSQLookupd, free_port, missing

pytest.importorskip("nsq")

from oche.queues.nsq import NSQQueue, holds, wire
from oche.queues.nsq.api import Channel, Topic
from oche.queues.nsq.names import BURIED, LONG, ROOM, SIGNAL, Facts, topic_of, tube_of, unwrap, wrap

#: nsqd looks at a channel for the first time, to see times that have come, when it is up to so many seconds old.
FIRST_LOOK = 5.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NSQD]:
    missing("nsqd", "nsq")
    options = ["--max-msg-timeout", "4s", "--max-req-timeout", "1s"]
    with NSQD(tmp_path_factory.mktemp("nsqd"), options=options) as server:
        for topic in ("late", "long", "lost", "silent"):  # nsqd has looked at them when the first of them was awaited
            server.ask(f"/topic/create?topic={topic}", b"")
            server.ask(f"/channel/create?topic={topic}&channel=oche", b"")
        yield server


@pytest.fixture
def queue(server: NSQD) -> Iterator[NSQQueue]:
    with NSQQueue.open(server.url) as queue:
        yield queue


@pytest.fixture
def other(server: NSQD) -> Iterator[NSQQueue]:
    with NSQQueue.open(server.url) as queue:
        yield queue


# Names and messages


@given(st.text(max_size=60), st.sampled_from(["", BURIED, SIGNAL, f"{LONG}0123456789ab"]))
def test_a_topic_names_its_tube(tube: str, kind: str) -> None:
    try:
        topic = topic_of(tube, kind)
    except ConfigError:
        assert not tube or len(tube.encode()) + len(kind) > 64 // 3
        return
    except UnicodeEncodeError:  # half of a pair of surrogates
        return
    assert len(topic) <= 64
    assert tube_of(topic) == (tube, LONG if kind.startswith(LONG) else kind)


@given(st.binary(), st.integers(0, 2**40), st.floats(0, 1e9), st.floats(0, 1e10))
def test_a_message_says_what_its_body_does_not(body: bytes, handed: int, lease: float, due: float) -> None:
    facts = Facts(handed=handed, lease=lease, due=due)
    assert unwrap(wrap(body, facts)) == (body, facts)
    assert len(wrap(body, facts)) <= len(body) + ROOM
    again = wrap(body, facts)
    assert unwrap(wrap(again, Facts())) == (again, Facts())


def test_a_plain_job_is_its_body_and_others_are_lines_of_json() -> None:
    assert wrap(b'{"task": "a:b"}', Facts()) == b'{"task": "a:b"}'
    assert wrap(b"", Facts()) == b'\n{"oche-nsq":{}}'
    assert wrap(b"{}", Facts(handed=2)) == b'{}\n{"oche-nsq":{"handed":2}}'


@pytest.mark.parametrize(
    ("depth", "came", "counts", "between"),
    [
        (0, 0, {"oche": 0}, False),
        (1, 1, {"oche": 0}, True),
        (0, 1, {"oche": 0}, True),
        (0, 2, {"oche": 1}, True),
        (0, 2, {"oche": 2}, False),
        (0, 2, {"oche": 0, "tail": 2}, False),  # ours is the younger one
        (2, 2, {}, False),
    ],
)
def test_a_message_on_its_way_inside_nsqd_is_seen(depth: int, came: int, counts: dict[str, int], between: bool) -> None:
    channels = [Channel(name, message_count=count) for name, count in counts.items()]
    assert Topic("t", depth=depth, message_count=came, channels=channels).between is between


# Another client


def test_nsq_tail_reads_our_jobs(server: NSQD, queue: NSQQueue) -> None:
    missing("nsq_tail")
    queue.put("tailed", b'{"task": "first"}')
    tail = ["nsq_tail", "-topic", "tailed", "-nsqd-tcp-address", f"127.0.0.1:{server.port}", "-n", "2"]
    with subprocess.Popen(tail, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        until(lambda: b"#ephemeral" in server.ask("/stats?topic=tailed"), "nsq_tail was there")
        queue.put("tailed", b'{"task": "second"}')
        queue.put("tailed", b'{"task": "third"}', lease=5.0)
        try:
            out, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    assert out.splitlines() == [b'{"task": "second"}', b'{"task": "third"}', b'{"oche-nsq":{"lease":5.0}}']
    bodies = [take(queue, "tailed").body for _ in range(3)]
    assert bodies == [b'{"task": "first"}', b'{"task": "second"}', b'{"task": "third"}']


def test_what_is_posted_over_http_is_a_job_like_any(server: NSQD, queue: NSQQueue) -> None:
    server.ask("/pub?topic=posted", b'{"number": 7}')
    server.ask("/mpub?topic=posted", b"1\n2\n")
    got = [take(queue, "posted") for _ in range(3)]
    assert sorted(delivery.body for delivery in got) == [b"1", b"2", b'{"number": 7}']
    assert [queue.attempts(delivery) for delivery in got] == [1, 1, 1]
    assert queue.stats("posted").reserved == 3


# What is set aside and delayed


def test_buried_jobs_are_counted_and_kicked(queue: NSQQueue, other: NSQQueue) -> None:
    queue.put_many("bad", [b"1", b"2", b"3"], lease=7.0)
    for _ in range(3):
        queue.bury(take(queue, "bad"), b"because")
    assert (other.stats("bad").buried, other.stats("bad").ready) == (3, 0)
    assert other.reserve(["bad"], 0.0) is None
    assert other.tubes("bad") == ["bad"]
    assert other.kick("bad", 2) == 2
    assert (queue.stats("bad").buried, queue.stats("bad").ready) == (1, 2)
    held = take(queue, "bad")
    assert (held.body, queue.attempts(held)) == (b"because", 2)
    assert queue.kick("bad", 100) == 1
    assert queue.kick("bad", 100) == 0


def test_a_delay_beyond_the_servers_longest_is_kept(queue: NSQQueue, other: NSQQueue) -> None:
    began = time.monotonic()
    queue.put("late", b"put", delay=2.5)
    queue.put("late", b"given back")
    queue.release(take(queue, "late"), delay=2.5)
    other.put_many("late", [b"%d" % number for number in range(300)], delay=1000.0)
    assert queue.reserve(["late"], 0.0) is None
    got = [queue.reserve(["late"], 15.0) for _ in range(2)]
    assert sorted(delivery.body for delivery in got if delivery) == [b"given back", b"put"]
    assert 2.4 < time.monotonic() - began < 2.5 + FIRST_LOOK + 2.0
    assert [queue.attempts(delivery) for delivery in got if delivery] == [1, 1]
    assert queue.reserve(["late"], 1.5) is None


# What is held for long


def test_a_job_held_beyond_the_servers_longest_stays_its_holders(queue: NSQQueue, other: NSQQueue) -> None:
    queue.put("long", b"x", lease=1000)
    held = take(queue, "long")
    ids = set()
    end = time.monotonic() + 6.5
    while time.monotonic() < end:  # only the keeper is awake
        assert other.reserve(["long"], 0.5) is None
        ids.add(held.handle.id)  # type: ignore[attr-defined]
    assert len(ids) >= 3
    assert (other.stats("long").reserved, other.stats("long").ready) == (1, 0)
    assert queue.attempts(held) == 1
    queue.release(held)
    held = take(queue, "long")
    assert queue.attempts(held) == 1
    queue.delete(held)
    assert other.reserve(["long"], 0.0) is None


def test_who_dies_with_a_job_that_it_held_for_long_loses_it_to_who_waits(
    queue: NSQQueue, other: NSQQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "LOOKOUT", 0.5)
    other._holds._next_lookout = 0.0
    queue.put("lost", b"x", lease=1000)
    held = take(queue, "lost")
    until(lambda: LONG in held.handle.line.topic, "it was exchanged")  # type: ignore[attr-defined]
    held.handle.line.socket.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(other.reserve, ["lost"], 30.0)
        again = waiting.result(40.0)
    assert again is not None
    assert (again.body, other.attempts(again)) == (b"x", 2)
    with pytest.raises((LeaseLost, Disconnected)):
        queue.delete(held)
    other.delete(again)
    assert not any(tube_of(topic.topic_name) == ("lost", LONG) for topic in other._talk.home.api.topics())


def test_who_was_silent_for_too_long_is_told_so_and_changes_nothing(
    queue: NSQQueue, other: NSQQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    post_ids = queue.put_many("silent", [b"x"])
    assert len(post_ids) == 1
    held = take(queue, "silent")
    with queue._talk._lock:  # nobody says a word, as in a process that is stopped
        again = other.reserve(["silent"], 15.0)
        assert again is not None
        assert other.attempts(again) == 2
    for verb in (queue.touch, queue.release, queue.bury, queue.delete):
        with pytest.raises(LeaseLost):
            verb(held)
    other.delete(again)
    assert other.reserve(["silent"], 0.0) is None


def test_a_job_that_came_too_late_to_be_taken_goes_on_to_others_uncounted(queue: NSQQueue, other: NSQQueue) -> None:
    queue.reserve(["stray.a", "stray.b"], 0.0)
    for tube in ("stray.a", "stray.b"):
        other.put(tube, tube.encode())
    first = queue.reserve(["stray.a", "stray.b"], 5.0)  # both may come
    assert first is not None
    left = "stray.b" if first.body == b"stray.a" else "stray.a"
    taken = other.reserve([left], 10.0)
    assert taken is not None
    assert (taken.body, other.attempts(taken)) == (left.encode(), 1)


# Several nsqds


def test_two_nsqds_are_one_queue_and_one_may_die(tmp_path: Path) -> None:
    missing("nsqd", "nsq")
    with ExitStack() as stack:
        both = [stack.enter_context(NSQD(tmp_path / name)) for name in "ab"]
        url = f"nsq://127.0.0.1:{both[0].port},127.0.0.1:{both[1].port}"
        putters = [stack.enter_context(NSQQueue.open(server.url)) for server in both]
        queue = NSQQueue.open(url)
        for putter, body in zip(putters, (b"a", b"b"), strict=True):
            putter.put("t", body)
            putter.signal(body.decode())
        assert queue.stats("t").ready == 2
        assert queue.signals("") == {"a", "b"}
        assert sorted(take(queue, "t").body for _ in range(2)) == [b"a", b"b"]
        assert (queue.stats("t").reserved, queue.stats("t").watching) == (2, 1)
        both[1].kill()
        until(lambda: raised(lambda: queue.stats("t")) is Disconnected, "it is seen")
        queue.close()
        later = stack.enter_context(queue.clone())
        assert later.life != queue.life
        again = later.reserve(["t"], 15.0)
        assert again is not None
        assert (again.body, later.attempts(again)) == (b"a", 2)
        for _ in range(10):
            later.put("t", b"more")
        assert later.stats("t").ready == 10
        both[1].start()
        with NSQQueue.open(both[1].url) as putter:
            putter.put("t", b"back")
        later.delete_many(later.reserve_many(["t"], 10, 1.0))
        back = later.reserve(["t"], 20.0)
        assert back is not None
        assert back.body == b"back"
        later.delete(back)


def test_nsqlookupd_tells_where_the_nsqds_are(tmp_path: Path) -> None:
    missing("nsqd", "nsq")
    missing("nsqlookupd")
    with NSQLookupd() as lookupd, ExitStack() as stack:
        assert raised(lambda: NSQQueue.open(lookupd.url)) is Disconnected
        first = stack.enter_context(NSQD(tmp_path / "a", lookupds=[lookupd]))
        nodes = f"http://127.0.0.1:{lookupd.port}/nodes"
        until(lambda: len(json.load(urlopen(nodes, timeout=5))["producers"]) == 1, "nsqd is known")
        queue = stack.enter_context(NSQQueue.open(lookupd.url))
        queue.put("t", b"x")
        assert take(queue, "t").body == b"x"
        assert [node.address.tcp for node in queue._talk.nodes] == [first.port]
        second = stack.enter_context(NSQD(tmp_path / "b", lookupds=[lookupd]))
        until(lambda: len(json.load(urlopen(nodes, timeout=5))["producers"]) == 2, "the second is known")
        with NSQQueue.open(lookupd.url) as other:
            assert sorted(node.address.tcp for node in other._talk.nodes) == sorted([first.port, second.port])


# Odds and ends


def test_topics_that_came_with_a_watcher_go_with_it_if_they_are_empty(server: NSQD, other: NSQQueue) -> None:
    queue = NSQQueue.open(server.url)
    queue.reserve(["gone", "kept"], 0.0)
    other.put("kept", b"x")
    queue.close()
    names = {topic.topic_name for topic in other._talk.home.api.topics()}
    assert "gone" not in names
    assert take(other, "kept").body == b"x"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nsq://", "nsq://host:4150"),
        ("redis://localhost", "not of the form"),
        ("nsq://localhost:port", "nsq://host:4150"),
        ("nsq://localhost/path", "not of the form"),
        ("nsq://a:1,", "not of the form"),
        ("nsq+lookupd://user@host", "nsq\\+lookupd://host:4161"),
    ],
)
def test_a_url_that_cannot_be_right(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        NSQQueue.open(url)


def test_nobody_is_there() -> None:
    with pytest.raises(Disconnected, match="no nsqd answers"):
        NSQQueue.open(f"nsq://127.0.0.1:{free_port()}")
    with pytest.raises(Disconnected, match="nsqlookupd at"):
        NSQQueue.open(f"nsq+lookupd://127.0.0.1:{free_port()}")


def test_an_answer_of_nsqlookupds_that_is_cut_short_is_none(tmp_path: Path) -> None:
    missing("nsqlookupd")
    with NSQLookupd() as lookupd, NSQD(tmp_path / "a", lookupds=[lookupd]), Proxy(lookupd.port) as proxy:
        nodes = f"http://127.0.0.1:{lookupd.port}/nodes"
        until(lambda: b"tcp_port" in urlopen(nodes, timeout=5).read(), "it is known")
        for size in range(0, 400, 7):
            proxy.fault = lambda size=size: torn(size)  # type: ignore[misc]
            opened = raised(lambda: NSQQueue.open(f"nsq+lookupd://127.0.0.1:{proxy.port}").close())
            assert opened in (Disconnected, None), size
            if opened is None:
                break
        else:
            pytest.fail("its answer is longer than that")
        assert size > 100


def test_what_it_cannot_do_and_what_is_too_much(queue: NSQQueue) -> None:
    for call in (lambda: queue.peek("t", State.READY), lambda: queue.discard("1")):
        with pytest.raises(Unsupported, match="NSQ cannot"):
            call()
    for tube in ("", "x" * 65, "é" * 11):
        with pytest.raises(ConfigError, match="1 to 64 characters"):
            queue.put(tube, b"x")
    with pytest.raises(TooLarge, match="--max-msg-size"):
        queue.put("t", b"x" * 2**20)
    queue.put("ünïcode+(x)_y", b"x")
    assert queue.tubes("ün") == ["ünïcode+(x)_y"]


def test_an_idle_connection_is_kept(server: NSQD, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "HEARTBEAT", 1.0)
    monkeypatch.setattr("oche.queues.nsq.talk.KEEP", 0.5)
    with NSQQueue.open(server.url) as queue:
        time.sleep(2.6)  # nsqd ends who is silent for two heartbeats
        queue.put("idle", b"x")
        assert take(queue, "idle").body == b"x"


def test_a_forked_child_may_not_use_it_and_closing_it_there_does_no_harm(queue: NSQQueue) -> None:
    queue.put("forked", b"x")
    held = take(queue, "forked")
    child = os.fork()
    if child == 0:
        refused = all(raised(call) is not None for call in verbs(queue, "forked", held).values())
        queue.close()
        os._exit(0 if refused else 1)
    assert os.waitpid(child, 0)[1] == 0
    queue.delete(held)
