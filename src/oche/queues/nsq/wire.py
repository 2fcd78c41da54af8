"""One line to one nsqd, for the queue and for streams: commands out, frames in. What the bytes are is pynsq's; how it
waits is not, for pynsq runs a loop of its own and calls back, while a driver is asked, waits, and is told.

nsqd answers a put, and says nothing to FIN, REQ and TOUCH unless they fail. Who must know asks for an answer to
something else after them: the commands of one line are done in order.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
from nsq import protocol

from oche.errors import ConfigError, QueueError, QueueFull, TooLarge

#: Seconds for a connection to be made, and for an answer to come.
CONNECT, ANSWER = 5.0, 10.0
#: Seconds between two heartbeats of nsqd; who answers none of two is gone for it.
HEARTBEAT = 30.0
#: Seconds that nsqd waits for a word about a job before it gives it to somebody else; at least 1.
HOLDING = 3.0

_LOST = {"E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED"}
_NOT_PUT = {"E_PUB_FAILED", "E_MPUB_FAILED", "E_DPUB_FAILED"}
_TOO_LARGE = {"E_BAD_MESSAGE", "E_BAD_BODY"}


class Arrival(NamedTuple):
    """A message as it came."""

    id: bytes
    attempts: int
    message: bytes


class Agreed(msgspec.Struct):
    """What nsqd says to our IDENTIFY."""

    max_rdy_count: int
    max_msg_timeout: int  #: milliseconds
    auth_required: bool = False


class Line:
    """One connection; not for two threads at once. Raises `OSError` when it breaks; a put `QueueFull`, `TooLarge`."""

    def __init__(self, host: str, port: int, me: str, patience: float = CONNECT, *, holding: float = HOLDING) -> None:
        """`me` is the name by which nsqd lists the connection; `holding` is as `HOLDING` is for the jobs of a queue.

        Raises `OSError`, `ConfigError`, `QueueError`.
        """
        self.where = f"nsqd at {host}:{port}"
        self.arrived: deque[Arrival] = deque()
        self.lost: set[bytes] = set()  #: ids of messages that are not ours any more, by what nsqd said
        self.ready = 0  #: messages that nsqd may have here at once
        self.topic = ""
        self.life = ""  #: a topic that nobody reads, of which nsqd keeps nothing
        self._replies: deque[bytes] = deque()
        self._unread = bytearray()
        self.socket = socket.create_connection((host, port), timeout=patience)
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.agreed = self._identify(me, holding)
            self.socket.settimeout(ANSWER)
        except BaseException:
            self.socket.close()
            raise

    def _identify(self, me: str, holding: float) -> Agreed:
        about: dict[str, Any] = {
            "client_id": me,
            "hostname": f"{socket.gethostname()}:{os.getpid()}",
            "user_agent": "oche",
            "feature_negotiation": True,
            "heartbeat_interval": round(HEARTBEAT * 1000),
            "msg_timeout": round(holding * 1000),
            "output_buffer_size": -1,  # else a message may wait for others, to travel with them
        }
        found = self.ask(protocol.MAGIC_V2 + protocol.identify(about))
        try:
            agreed = msgspec.json.decode(found, type=Agreed)
        except msgspec.DecodeError as error:
            raise QueueError(f"{self.where} answered {found[:80]!r}: that is no nsqd of 1.0 or newer") from error
        if agreed.auth_required:
            raise ConfigError(f"{self.where} wants a secret (AUTH), which oche does not know; let it do without")
        return agreed

    # --- commands

    def subscribe(self, topic: str, channel: str) -> None:
        """From now on messages of this channel may come, as many as `let` lets."""
        self.ask(protocol.subscribe(topic, channel))
        self.topic = topic

    def let(self, ready: int) -> None:
        """nsqd may have so many messages here at once, those that are held included."""
        ready = min(ready, self.agreed.max_rdy_count)
        if ready != self.ready:
            self.ready = ready
            self.send(protocol.ready(ready))

    def send(self, commands: bytes) -> None:
        """Commands that are not answered."""
        self.socket.sendall(commands)

    def ask(self, commands: bytes, answers: int = 1) -> bytes:
        """Commands of which so many are answered, the last one among them; its answer."""
        self.send(commands)
        while len(self._replies) < answers:
            self.receive()
        last = self._replies[-1]
        self._replies.clear()
        return last

    def settle(self) -> None:
        """What was sent before is done, and `lost` says where it could not be."""
        self.ask(protocol.pub(self.life, b"."))

    def close(self) -> None:
        """Ends it; nsqd waits `holding` seconds from the last word on for each message that is not given back."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    # --- frames

    def receive(self) -> None:
        """Takes in some of what has come; waits for it if nothing has."""
        data = self.socket.recv(2**16)
        if not data:
            raise ConnectionError(f"{self.where} closed it")
        self._unread += data
        start = 0
        try:
            while len(self._unread) - start >= 4:
                end = start + 4 + int.from_bytes(self._unread[start : start + 4])
                if len(self._unread) < end:
                    break
                start, frame = end, bytes(self._unread[start + 4 : end])
                self._take_in(frame)
        finally:
            del self._unread[:start]  # also what told of trouble: nothing is taken in twice

    def _take_in(self, frame: bytes) -> None:
        kind, data = protocol.unpack_response(frame)
        if kind == protocol.FRAME_TYPE_MESSAGE:
            found = protocol.decode_message(data)
            self.lost.discard(found.id)
            self.arrived.append(Arrival(found.id, found.attempts & 0xFFFF, found.body))
        elif kind == protocol.FRAME_TYPE_RESPONSE and data == b"_heartbeat_":
            self.send(protocol.nop())
        elif kind == protocol.FRAME_TYPE_RESPONSE:
            self._replies.append(data)
        else:
            self._refused(data.decode(errors="replace"))

    def _refused(self, text: str) -> None:
        code, *words = text.split()
        if code in _LOST and len(words) > 1:
            self.lost.add(words[1].encode())
        elif code in _NOT_PUT and "exiting" not in text:
            raise QueueFull(f"{self.where} could not store a message ({text}); make room on its disk")
        elif code in _TOO_LARGE:
            raise TooLarge(f"{self.where} answered {text}; start it with a larger --max-msg-size")
        elif "TLS required" in text:
            raise ConfigError(f"{self.where} wants TLS, which oche does not speak to it; let it do without")
        else:
            raise ConnectionError(f"{self.where} answered {text}")
