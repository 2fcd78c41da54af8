"""The conversation with a RabbitMQ over one connection of pika's: its channels, its heartbeat, what errors mean.

Two channels. On `hold`, jobs are taken and held. On `post`, everything is put, in transactions: a commit that is
answered says what a publisher confirm says, stored, for any number of messages and acknowledgements at once.
A third, `probe`, asks for queues that may not exist, which ends a channel.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import pika
from pika import exceptions

from oche.errors import Closed, ConfigError, Disconnected, OcheError, QueueError, QueueFull

#: Seconds for a connection to be made, and that a broker which takes nothing more is waited for.
CONNECT, BLOCKED = 5.0, 10.0
#: Seconds that `close` waits for a verb of another thread.
FAREWELL = 1.0
#: Seconds between two heartbeats: of a connection that is silent for two of them, both ends believe that it is gone.
HEARTBEAT = 10
#: Seconds between two turns of the keeper; pika beats while somebody is in it, and at no other time.
KEEP = 2.5

_MISSING, _TAKEN = 404, 405


class Message(NamedTuple):
    """What is put into a queue."""

    queue: str
    body: bytes
    properties: pika.BasicProperties


class Conversation:
    """One connection, used by one thread at a time; between two verbs a thread of its own keeps it alive."""

    def __init__(self, url: str) -> None:
        logger = logging.getLogger("pika")
        if not logger.handlers:  # what it logs as an error, we raise
            logger.addHandler(logging.NullHandler())
        parameters = _parameters(url)
        self.where = f"RabbitMQ at {parameters.host}:{parameters.port}"
        self.heartbeat = float(parameters.heartbeat or 0.0)  #: seconds
        self.tend: Callable[[], float] = lambda: KEEP  #: done before each verb and at each turn; seconds until the next
        self._lock = threading.RLock()
        self._closed = self._broken = self._blocked = False
        self._pid = os.getpid()
        self._returned: list[Message] = []
        self._connection: Any = None
        with self.talk():
            self._connection = pika.BlockingConnection(parameters)
            self._connection.add_on_connection_blocked_callback(lambda *_: self._is_blocked(True))
            self._connection.add_on_connection_unblocked_callback(lambda *_: self._is_blocked(False))
            self.hold: Any = self._connection.channel()
            self.post: Any = self._connection.channel()
            self.post.tx_select()
            self.post.add_on_return_callback(self._on_return)
            self._probe: Any = self._connection.channel()
        self._turn = threading.Event()
        threading.Thread(target=_keep, args=(weakref.ref(self), self._turn), name="oche-amqp", daemon=True).start()

    # --- for a while

    @contextmanager
    def talk(self) -> Iterator[None]:
        """Within, the connection is this thread's. What goes wrong is raised as an error of ours."""
        with self._lock:
            self.check_open()
            try:
                if self._connection is not None:
                    self._connection.process_data_events(0)
                    self.tend()
                yield
            except OcheError:
                raise
            except BaseException as error:
                if _refused(error):
                    raise ConfigError(
                        f"{self.where} refuses us: {error}; mend user, password and virtual host in the URL, as in "
                        "amqp://user:password@host:5672/%2F (guest may come from the broker's own machine only)"
                    ) from error
                self._fail(error)
                raise

    def _fail(self, error: BaseException) -> None:
        self._broken = True
        with suppress(Exception):
            self._connection.close()
        if self._closed:
            raise Closed(f"the queue was closed while it waited for {self.where}") from error
        if not isinstance(error, Exception):
            return
        if isinstance(error, exceptions.ChannelClosedByBroker):
            raise QueueError(f"{self.where} answered {error.reply_code} {error.reply_text}") from error
        if isinstance(error, exceptions.ConnectionBlockedTimeout) or self._blocked:
            raise QueueFull(f"{self.where} takes nothing: its disk or its memory is full; give it more") from error
        raise Disconnected(f"the connection to {self.where} broke: {error!r}; open a new one") from error

    def check_open(self) -> None:
        """Raises what the next verb would."""
        if self._pid != os.getpid():
            raise QueueError("the queue was opened before this process was forked; clone() it here")
        if self._closed:
            raise Closed("this queue was closed; clone() or open another one")
        if self._broken:
            raise Disconnected(f"the connection to {self.where} is broken; open a new one")

    def wait(self, seconds: float) -> None:
        """Until something arrives, or `close` is called."""
        self._connection.process_data_events(max(seconds, 0.0))
        self.check_open()

    def turn(self) -> None:
        """The keeper's next turn is now."""
        self._turn.set()

    def keep(self) -> float:
        """The keeper's turn; seconds until the next, or -1 when there will be none."""
        if not self._lock.acquire(blocking=False):  # a verb is under way, and keeps it alive
            return KEEP
        try:
            if self._closed:  # by who did not get in
                with suppress(Exception):
                    self._connection.close()
            with self.talk():
                return min(KEEP, self.tend())
        except OcheError:
            return -1.0 if self._closed or self._broken else KEEP
        finally:
            self._lock.release()

    def close(self) -> None:
        """Ends it, from any thread."""
        if self._closed:
            return
        self._closed = True
        if self._pid != os.getpid():  # a parent's, from before a fork, and still in use there
            return
        self._turn.set()
        with suppress(Exception):
            self._connection.add_callback_threadsafe(lambda: None)  # wakes who waits
        if self._lock.acquire(timeout=FAREWELL):  # else another thread is in a verb, and the keeper closes it later
            try:
                with suppress(Exception):
                    self._connection.close()
            finally:
                self._lock.release()

    # --- verbs of AMQP

    def send(self, method: pika.amqp_object.Method) -> None:
        """A method on the channel `hold` that is not answered."""
        self.hold._impl._send_method(method)

    def server(self) -> dict[str, str]:
        """What the server said of itself when it was greeted."""
        told = self._connection._impl.server_properties or {}
        return {name: value for name, value in told.items() if isinstance(value, str)}

    def declare(self, queue: str, arguments: dict[str, Any]) -> None:
        """Makes the durable queue, if it is not there."""
        self.post.queue_declare(queue, durable=True, arguments=arguments)

    def count(self, queue: str) -> tuple[int, int] | None:
        """Ready messages and consumers of the queue; None if there is none of this name."""
        try:
            found = self._probe.queue_declare(queue, passive=True).method
        except exceptions.ChannelClosedByBroker as error:
            self._probe = self._connection.channel()
            if error.reply_code != _MISSING:
                raise
            return None
        return found.message_count, found.consumer_count

    def drop(self, queue: str, *, unused: bool = False) -> bool:
        """Deletes the queue; with `unused` only if it holds no message and has no consumer. Whether it did."""
        try:
            self._probe.queue_delete(queue, if_unused=unused, if_empty=unused)
        except exceptions.ChannelClosedByBroker:
            self._probe = self._connection.channel()
            return False
        return True

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Within, no other connection is within for this name: an exclusive queue is its owner's while it lives."""
        while True:
            try:
                self._probe.queue_declare(name, exclusive=True)
                break
            except exceptions.ChannelClosedByBroker as error:
                self._probe = self._connection.channel()
                if error.reply_code != _TAKEN:
                    raise
                time.sleep(0.01)
        yield
        self.drop(name)

    def publish(self, messages: Iterable[Message]) -> list[Message]:
        """Puts the messages, and does what else the transaction holds; returns those whose queue is not there."""
        self._returned.clear()
        for message in messages:
            self.post.basic_publish("", message.queue, message.body, message.properties, mandatory=True)
        self.post.tx_commit()
        self._connection.process_data_events(0)
        returned, self._returned = self._returned, []
        return returned

    # --- what they stand on

    def _is_blocked(self, blocked: bool) -> None:
        self._blocked = blocked

    def _on_return(self, _: Any, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        self._returned.append(Message(method.routing_key, body, properties))


def _refused(error: BaseException) -> bool:
    """Whether the broker has said so: for pika it is likely wherever a connection is lost or refused that early."""
    likely = exceptions.ProbableAuthenticationError, exceptions.ProbableAccessDeniedError
    said = str(error)
    full = "limit" in said  # of connections; those of before a cut count until their heartbeats are missed
    return isinstance(error, likely) and ("Broker: (403)" in said or ("Broker: (530)" in said and not full))


def _keep(wire: weakref.ref[Conversation], turn: threading.Event) -> None:
    pause = KEEP
    while True:
        turn.wait(pause)
        turn.clear()
        kept = wire()
        if kept is None or (pause := kept.keep()) < 0.0:
            return
        del kept


def _parameters(url: str) -> pika.URLParameters:
    try:
        parameters = pika.URLParameters(url)
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{url!r}: {error}; write amqp://user:password@host:5672/%2F") from error
    if "heartbeat=" not in url:
        parameters.heartbeat = HEARTBEAT
    parameters.connection_attempts = 1
    parameters.socket_timeout, parameters.stack_timeout = CONNECT, 2 * CONNECT
    parameters.blocked_connection_timeout = BLOCKED
    return parameters
