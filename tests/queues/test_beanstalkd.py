"""beanstalkd, the real one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from oche.errors import ConfigError, Disconnected, LeaseLost, QueueFull
from oche.queues.seam import Delivery
from oche.testing.queue_rig import Rig, take, until
from oche.testing.queue_suite import QueueSuite
from oche.testing.servers import Beanstalkd, missing

greenstalk = pytest.importorskip("greenstalk")
from oche.queues.beanstalkd import BeanstalkdQueue  # noqa: E402
from oche.queues.beanstalkd import queue as driver  # noqa: E402


@pytest.fixture(autouse=True)
def _installed() -> None:
    missing("beanstalkd", "greenstalk")


def rig_of(server: Beanstalkd) -> Rig:
    def restart() -> None:
        server.kill()
        server.start()

    # Up to 1.13 the server may drop a silent holder from its timetable a moment before the lease ends.
    return Rig(
        open=lambda: BeanstalkdQueue.open(server.url), restart=restart, url=server.url, leases_end_in_silence=False
    )


class TestBeanstalkdQueue(QueueSuite):
    @pytest.fixture
    def rig(self) -> Iterator[Rig]:
        with Beanstalkd() as server:
            yield rig_of(server)


class TestBeanstalkdQueueWithBinlog(QueueSuite):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[Rig]:
        with Beanstalkd(tmp_path / "binlog", fsync=0) as server:
            yield rig_of(server)


@pytest.fixture
def server() -> Iterator[Beanstalkd]:
    with Beanstalkd() as server:
        yield server


@pytest.fixture
def queue(server: Beanstalkd) -> Iterator[BeanstalkdQueue]:
    with BeanstalkdQueue.open(server.url) as queue:
        yield queue


def test_a_silent_server_does_not_hold_a_verb_for_ever(
    server: Beanstalkd, queue: BeanstalkdQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "ANSWER", 0.3)
    held = [take_new(queue), take_new(queue)]
    server.pause()
    start = time.monotonic()
    with pytest.raises(Disconnected):
        queue.reserve(["a"], 1.0)
    assert 1.2 < time.monotonic() - start < 3.0
    with pytest.raises(Disconnected, match="open a new one"):
        queue.delete(held[0])
    server.resume()
    with pytest.raises(Disconnected):  # for good, since the answer may still come
        queue.touch(held[1])


def take_new(queue: BeanstalkdQueue) -> Delivery:
    queue.put("a", b"x")
    return take(queue, "a")


def test_nobody_there(server: Beanstalkd) -> None:
    server.kill()
    with pytest.raises(Disconnected, match=str(server.port)):
        BeanstalkdQueue.open(server.url)


@pytest.mark.parametrize(
    "url",
    ["beanstalkd://", "beanstalkd://host:x", "beanstalkd://host:99999", "beanstalkd://u:p@host", "beanstalkd://host/x"],
)
def test_urls_that_cannot_be_right(url: str) -> None:
    with pytest.raises(ConfigError):
        BeanstalkdQueue.open(url)


def test_a_draining_server_takes_no_jobs(server: Beanstalkd, queue: BeanstalkdQueue) -> None:
    queue.put("a", b"x")
    os.kill(server.pid, signal.SIGUSR1)

    def draining() -> bool:
        try:
            queue.put("a", b"y")
        except QueueFull as error:
            return "draining" in str(error)
        return False

    until(draining, "the server drained")
    with pytest.raises(QueueFull):
        queue.put_many("a", [b"1", b"2"])
    assert take(queue, "a").body == b"x"


def test_the_traits_are_those_of_the_server(tmp_path: Path) -> None:
    with (
        Beanstalkd(tmp_path, fsync=0.01, max_job_size=1000) as server,
        BeanstalkdQueue.open(server.url) as queue,
        queue.clone() as clone,
    ):
        assert queue.traits.durable
        assert queue.traits.max_body == clone.traits.max_body == 1000


def test_an_interrupt_amid_a_command_ends_the_connection(queue: BeanstalkdQueue) -> None:
    """Ctrl-C in a blocked reserve: the reply that comes later must not be taken for another command's."""
    with queue.clone() as other, ThreadPoolExecutor() as pool:

        def interrupt() -> None:
            until(lambda: other.stats("a").waiting == 1, "it waited")
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        interrupting = pool.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            queue.reserve(["a"], 15.0)
        interrupting.result(15.0)
        other.put("a", b"x")
        with pytest.raises(Disconnected):
            queue.reserve(["a"], 1.0)
        assert take(other, "a").body == b"x"


def test_a_holder_whose_lease_is_near_its_end_gets_none_instead_of_a_warning(queue: BeanstalkdQueue) -> None:
    queue.put("a", b"x", lease=1)
    held = take(queue, "a")
    assert queue.reserve(["a"], 5.0) is None
    queue.touch(held)
    queue.delete(held)


def test_names_and_numbers_that_the_server_would_misread_are_not_sent(queue: BeanstalkdQueue) -> None:
    for tube in ("", "a b", "a\r\ndelete 1", "-a", "ä", "a" * 201):
        for call in (
            lambda t=tube: queue.put(t, b""),
            lambda t=tube: queue.reserve([t], 0.0),
            lambda t=tube: queue.stats(t),
        ):
            with pytest.raises(ConfigError):
                call()
    for priority in (-1, 2**32):
        with pytest.raises(ConfigError):
            queue.put("a", b"", priority=priority)
    queue.put("a", b"still in step")
    assert take(queue, "a").body == b"still in step"
    assert queue.stats("a").reserved == 1


def test_a_late_delete_does_not_reach_a_job_that_is_ready_again(queue: BeanstalkdQueue) -> None:
    """The server would delete it for anybody; the connection asks first, also when it deletes many."""
    with queue.clone() as other:
        queue.put_many("a", [b"1", b"2", b"3"], lease=1)
        held = [take(queue, "a") for _ in range(3)]

        def back() -> bool:
            queue.stats("a")
            return other.stats("a").ready == 3

        until(back, "the leases had run out")
        with pytest.raises(LeaseLost):
            queue.delete(held[0])
        queue.delete_many(held)
        assert other.stats("a").ready == 3


def test_an_idle_connection_asks_the_server_nothing(queue: BeanstalkdQueue) -> None:
    with queue.clone() as other, ThreadPoolExecutor() as pool:
        waiting = pool.submit(other.reserve, ["a"], 3.0)
        until(lambda: queue.stats("a").waiting == 1, "it waited")
        with greenstalk.Client((queue._host, queue._port), encoding=None) as plain:
            before = plain.stats()["cmd-reserve-with-timeout"]
            assert waiting.result(15.0) is None
            assert plain.stats()["cmd-reserve-with-timeout"] == before


def test_a_lease_that_the_server_overlooked_can_be_asked_about(queue: BeanstalkdQueue) -> None:
    """The server says less than nothing of the lease is left, if it has not noticed that it is over."""
    queue.put("a", b"x", lease=1)
    held = take(queue, "a")
    taken = time.monotonic()
    while (left := taken + 2.1 - time.monotonic()) > 0:
        threading.Event().wait(left)
    assert queue.attempts(held) == 1


def test_a_forked_child_lets_go_of_it_though_a_thread_of_the_parent_waits(queue: BeanstalkdQueue) -> None:
    with ThreadPoolExecutor(1) as pool, queue.clone() as other:
        waiting = pool.submit(queue.reserve, ["forked"], 30.0)
        until(lambda: other.stats("forked").waiting == 1, "it waits")
        child = os.fork()
        if child == 0:
            queue.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        other.put("forked", b"x")
        got = waiting.result(10)
        assert got is not None
        queue.delete(got)
