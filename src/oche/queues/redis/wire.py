"""The conversation with a Redis over one connection of redis-py's: commands, our scripts, and what errors mean.

Once an answer is late or cut off, later answers would be taken for those of later commands; so whatever ends the
talk between the two ends the conversation, for good.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.retry import Retry

from oche.errors import Closed, ConfigError, Disconnected, QueueError, QueueFull, Unsupported

#: Seconds for a connection to be made, and for an answer to come.
CONNECT, ANSWER = 5.0, 10.0


class Conversation:
    """One connection, kept in step; any thread may use it, one at a time. `script` is the text of our verbs in Lua."""

    def __init__(self, url: str, script: str | None = None) -> None:
        self._text = files("oche.queues.redis").joinpath("verbs.lua").read_text() if script is None else script
        if "decode_responses" in dict(parse_qsl(urlsplit(url).query, keep_blank_values=True)):
            raise ConfigError("decode_responses= cannot be in the URL of a queue: jobs are bytes; leave it out")
        self.where = f"Redis at {urlsplit(url).hostname}:{urlsplit(url).port or 6379}"
        self.waiting = False  #: a thread is inside `wait`
        self._closed = self._broken = self._greeted = False
        self._lock = threading.RLock()
        self._pid = os.getpid()
        try:
            once = Retry(NoBackoff(), 0)
            pool = ConnectionPool.from_url(
                url, socket_connect_timeout=CONNECT, socket_timeout=ANSWER, retry=once, redis_connect_func=self._greet
            )
            self._wire = cast(Any, pool.make_connection())
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{url!r}: {error}; write redis://user:password@host:port/number") from error
        with self._talk():
            self._wire.connect()
        try:
            self._load()
        except BaseException:
            self._wire.disconnect()
            raise

    def _greet(self, connection: Any) -> None:
        """Once: redis-py would open another connection in place of a lost one, and that is not who holds our jobs."""
        if self._greeted:
            raise redis.ConnectionError("the connection is gone")
        self._greeted = True
        self._socket: socket.socket = connection._sock
        connection.on_connect()

    def command(self, *command: Any) -> Any:
        """One command and its answer: bytes, numbers, lists of them."""
        with self._talk():
            return self._ask(*command)

    def run(self, verb: str, *arguments: Any) -> Any:
        """One verb of the script."""
        with self._talk():
            try:
                return self._ask("EVALSHA", self._script(verb), 0, verb, *arguments)
            except redis.exceptions.NoScriptError:  # somebody flushed them
                self._load()
                return self._ask("EVALSHA", self._script(verb), 0, verb, *arguments)

    def wait(self, key: str, seconds: float) -> None:
        """Until something is in the list, and takes it; `close` from another thread ends the wait."""
        with self._talk():
            self.waiting = True
            try:
                self._wire.send_command("BLPOP", key, f"{seconds:.3f}")
                self._wire.read_response(timeout=seconds + ANSWER)
            finally:
                self.waiting = False

    def info(self, section: str) -> dict[str, str]:
        """A section of what the server tells about itself."""
        lines = self.command("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def setting(self, name: str) -> str:
        """One setting of the server's; raises `QueueError` if we may not ask."""
        told = self.command("CONFIG", "GET", name)
        pairs = told.values() if isinstance(told, dict) else told[1:]  # as the version of the protocol has it
        return b"".join(pairs).decode()

    def close(self, *last_words: Any) -> bool:
        """Ends it, after one more verb if nobody is amid another; returns whether that could be said."""
        if self._closed:
            return True
        if self._pid != os.getpid():  # a parent's, from before a fork, and still in use there
            self._closed = True
            return True
        said = False
        if not self.waiting and self._lock.acquire(timeout=0.0):
            try:
                with suppress(QueueError):
                    self.run(*last_words)
                    said = True
            finally:
                self._lock.release()
        self._closed = True
        # Closing a socket that another thread reads would let that thread read from the next one of the same number.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._wire.disconnect()
        return said or self._broken

    def check_open(self) -> None:
        """Raises what the next command would."""
        if self._pid != os.getpid():
            raise QueueError("the queue was opened before this process was forked; clone() it here")
        if self._closed:
            raise Closed("this queue was closed; clone() or open another one")
        if self._broken:
            raise Disconnected(f"the connection to {self.where} is broken; open a new one")

    def _ask(self, *command: Any) -> Any:
        self._wire.send_command(*command)
        return self._wire.read_response(disable_decoding=True)

    def _script(self, verb: str) -> bytes:
        return self._put if verb == "put" else self._other

    def _load(self) -> None:
        """Only puts are refused when the server is out of memory: else nobody could empty it."""
        try:
            with self._talk():
                self._put: bytes = self._ask("SCRIPT", "LOAD", f"#!lua\n{self._text}")
                self._other: bytes = self._ask("SCRIPT", "LOAD", f"#!lua flags=allow-oom\n{self._text}")
        except QueueError as error:
            if isinstance(error, Disconnected | Closed):
                raise
            raise Unsupported(f"{error}: it does not take our script; Redis 7 or Valkey is needed") from error

    @contextmanager
    def _talk(self) -> Iterator[None]:
        with self._lock:
            self.check_open()
            try:
                yield
            except redis.AuthenticationError as error:
                raise ConfigError(f"{self.where} refuses us: {error}; mend user and password in the URL") from error
            except redis.exceptions.NoScriptError:
                raise
            except redis.ResponseError as error:
                # No memory, or no disk.
                if isinstance(error, redis.exceptions.OutOfMemoryError) or str(error).startswith("MISCONF"):
                    raise QueueFull(f"{self.where} has no room ({error}); drain it or give it more") from error
                raise QueueError(f"{self.where} answered {error}") from error
            except (ConfigError, QueueError):
                raise
            except BaseException as error:
                self._broken = True
                self._wire.disconnect()
                if self._closed:
                    raise Closed(f"the queue was closed while it waited for {self.where}") from error
                if not isinstance(error, Exception):
                    raise
                raise Disconnected(f"the connection to {self.where} broke: {error!r}; open a new one") from error
