"""One subscription at one nsqd: the queue's line, which also knows what is held from it."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice

from nsq import protocol

from oche.errors import QueueError
from oche.queues.nsq.nodes import Address
from oche.queues.nsq.wire import Line

#: The name by which nsqd lists our connections.
ME = "oche"
#: Seconds for a connection to be made.
CONNECT = 2.0


class Subscription(Line):
    """Raises `OSError` when it breaks."""

    def __init__(self, address: Address, topic: str, channel: str, lease: float) -> None:
        """`lease` is the seconds that nsqd waits for a word about a message before it gives it to somebody else."""
        self.address = address
        self.held: dict[bytes, int] = {}  #: by id, which delivery of the message is ours, as far as we know
        super().__init__(address.host, address.tcp, ME, CONNECT, holding=lease)
        try:
            self.subscribe(topic, channel)
        except BaseException:
            self.socket.close()
            raise

    def receive(self) -> None:
        before = len(self.arrived)
        try:
            super().receive()
        finally:
            self.held |= {arrival.id: arrival.attempts for arrival in islice(self.arrived, before, None)}
            for id in self.lost:
                self.held.pop(id, None)

    def drain(self) -> None:
        """Takes in what came before the line broke."""
        with suppress(OSError, QueueError):
            self.socket.settimeout(0.0)
            while True:
                self.receive()

    def close(self) -> None:
        """Ends it, from any thread, and gives back what is held: nsqd would wait for its time to run out."""
        with suppress(OSError):
            self.socket.sendall(b"".join(protocol.requeue(id, 0) for id in list(self.held)))
        super().close()
