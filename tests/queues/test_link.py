"""A queue that is opened again, and servers that go while it is opened: nothing stays open behind it."""

from __future__ import annotations

import gc
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from oche.errors import Closed, Disconnected, QueueFull
from oche.queues.link import Link
from oche.queues.memory import MemoryQueue
from oche.queues.memory.broker import Broker
from oche.queues.opening import open_queue
from oche.queues.seam import Queue


def test_a_queue_that_comes_when_the_link_is_closed_already_is_closed_too() -> None:
    closing = threading.Event()
    opened: list[Queue] = []

    class Slow(MemoryQueue):
        def clone(self) -> Slow:
            closing.set()  # another thread does, while we wait for the server's answer
            link.close()
            opened.append(Slow(Broker()))
            return opened[-1]  # type: ignore[return-value]

    link = Link(Slow(Broker()), "the link", closing=closing)
    with pytest.raises(Closed, match="the link was closed"):
        link.reopen(Disconnected("it is gone"))
    with pytest.raises(Closed):
        opened[0].stats("t")


def test_a_broker_without_room_is_waited_for_as_one_that_is_away() -> None:
    tries = 0

    class Full(MemoryQueue):
        def clone(self) -> Full:
            nonlocal tries
            tries += 1
            if tries < 3:
                raise QueueFull("no room, not even to be opened")
            return Full(Broker())

    link = Link(Full(Broker()), "the link", closing=threading.Event())
    link.reopen(Disconnected("it is gone"))
    assert tries == 3
    assert link.queue.stats("t").ready == 0
    link.close()


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Of one who takes connections and resets them, as the death of a server does, the moment that they are made."""
    create, made = socket.create_connection, threading.Event()

    def connect(*arguments: Any, **options: Any) -> socket.socket:
        one = create(*arguments, **options)
        made.set()
        select.select([one], [], [], 10.0)  # until it is reset
        return one

    monkeypatch.setattr(socket, "create_connection", connect)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def take() -> None:
            with suppress(OSError):
                while True:
                    one, _ = listener.accept()
                    with one:
                        made.wait(0.1)  # not every library connects in this way
                        made.clear()
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        thread = threading.Thread(target=take)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.mark.parametrize("scheme", ["beanstalkd", "redis", "amqp", "gearman", "nsq"])
def test_a_server_that_is_killed_while_we_connect_is_away_and_leaves_no_socket(scheme: str, port: int) -> None:
    with pytest.raises(Disconnected):
        open_queue(f"{scheme}://127.0.0.1:{port}")
    gc.collect()  # an open socket would be told of here
