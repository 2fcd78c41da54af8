"""The conversation with a gearmand over one socket or more, ended for good by whatever breaks it.

A job that is held belongs to one socket and one function: whoever says "I can no longer do this function" gives its
jobs back. So a line that holds jobs is set aside when others are to be watched, and closed when its last job ends.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from oche.errors import Closed, ConfigError, Disconnected, OcheError, QueueError
from oche.queues.gearman.line import Line

PORT = 4730


def address(url: str) -> tuple[str, int]:
    """Host and port of `gearman://host:port`; raises `ConfigError` for anything else."""
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{url!r}: {error}") from error
    if parts.scheme != "gearman" or not host or parts.path not in ("", "/") or parts.query or parts.username:
        raise ConfigError(f"{url!r} is not of the form gearman://host:{PORT}")
    return host, PORT if port is None else port


class Conversation:
    """All that one queue says to one gearmand, one thread at a time: a line to take jobs, and those set aside."""

    def __init__(self, host: str, port: int) -> None:
        """Raises `Disconnected` if nobody answers there."""
        self.where = f"gearmand at {host}:{port}"
        self._address = host, port
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._closed = self._broken = False
        try:
            self.lines = [Line(host, port)]  #: open ones; the last of them takes jobs
        except OSError as error:
            raise Disconnected(f"no {self.where} answers ({error}); start it or mend the URL") from error

    @property
    def line(self) -> Line:
        """The one that takes jobs."""
        return self.lines[-1]

    def add(self) -> Line:
        """A further line; it takes jobs from now on."""
        self.lines.append(Line(*self._address))
        return self.line

    @contextmanager
    def aside(self) -> Iterator[Line]:
        """A line for a moment."""
        line = Line(*self._address)
        try:
            yield line
        finally:
            line.close()

    @contextmanager
    def talk(self) -> Iterator[None]:
        """Around packets and their answers: what goes wrong amid those ends the connection, for good."""
        with self._lock:
            self.check_open()
            try:
                yield
            except OcheError:
                raise
            except BaseException as error:
                self._drop()
                if self._closed:
                    raise Closed(f"the queue was closed while it waited for {self.where}") from error
                if not isinstance(error, Exception):
                    raise
                raise Disconnected(f"the connection to {self.where} broke: {error!r}; open a new one") from error

    def check_open(self) -> None:
        """Raises what the next verb would."""
        if self._pid != os.getpid():
            raise QueueError("the queue was opened before this process was forked; clone() it here")
        if self._closed:
            raise Closed("this queue was closed; clone() or open another one")
        if self._broken:
            raise Disconnected(f"the connection to {self.where} is broken; open a new one")

    def close(self) -> None:
        """From any thread; a talk that is going on ends with `Closed`."""
        if self._closed:
            return
        self._closed = True
        if self._pid != os.getpid():  # a parent's, from before a fork, and still in use there
            return
        for line in self.lines:
            with suppress(OSError):
                line.socket.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        self._broken = True
        for line in self.lines:
            line.close()
