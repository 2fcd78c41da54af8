"""What a worker process of Parallel Python does for oche: it has a process of its own compute, and tells if that died.

    ppft's worker -- pipe --> its child: remote.run, one call at a time

When a worker of ppft's dies, its server tells nobody and goes on giving it calls, which never come back. And what a
worker prints other than by Python goes between its answers. So the worker itself computes nothing.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection, wait

from oche.engines import remote
from oche.worker.crew import child_environment

#: What comes back for a call whose process died.
DIED = b""
#: What a child does first: how many there are on the machine, store, initializer.
Start = tuple[int, str, bytes]

_start: Start | None = None
_child: _Child | None = None


def begin(start: bytes) -> bytes:
    """For a worker that an engine of ours started. Returns why its child cannot begin, or nothing."""
    global _start, _child
    _start = pickle.loads(start)
    _child = _Child(_start, None)
    return _child.answer()


def run(slots: int, call: bytes) -> bytes:
    """For one of so many workers of a machine: a call, pickled, to what `_answer` makes of it, or `DIED`."""
    global _child
    try:
        if _child is None:
            _child = _Child(_start or (slots, "", b""), _server() if _start is None else None)
            _child.answer()
        return _child.ask(call)
    except (EOFError, OSError):
        if _child is not None:
            _child.bury()
        _child = None
        return DIED


class _Child:
    """Forked while its worker has one thread and little loaded, so at once."""

    def __init__(self, start: Start, server: int | None) -> None:
        self._link, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_compute, args=(self._link, theirs, start, server))
        self._process.start()
        theirs.close()

    def ask(self, call: bytes) -> bytes:
        """Raises `EOFError` or `OSError` if it dies."""
        self._link.send_bytes(call)
        return self.answer()

    def answer(self) -> bytes:
        """What it says."""
        if self._link not in wait([self._link, 0]):
            os._exit(1)  # nobody is there to hear it
        return self._link.recv_bytes()

    def bury(self) -> None:
        """After its death."""
        self._link.close()
        self._process.join()

    def leave(self) -> None:
        """The worker ends in an orderly way."""
        with suppress(OSError):
            self._link.send_bytes(b"")
            self._process.join(1.0)


@atexit.register
def _leave() -> None:
    """Before multiprocessing waits for a child that waits for us."""
    if _child is not None:
        _child.leave()
        os._exit(0)


def _server() -> int:
    """A handle of the ppserver that started this worker, or -1 where the system has none."""
    if not hasattr(os, "pidfd_open"):
        return -1
    server = os.pidfd_open(os.getppid())
    if wait([0], 0.0):  # it is dead already, and somebody else has adopted us
        os._exit(1)
    return server


def _compute(theirs: Connection, link: Connection, start: Start, server: int | None) -> None:
    """The child. Nothing that it prints may come between the worker's answers."""
    theirs.close()
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    if server is not None:
        os.dup2(nothing, 2)  # nobody reads it, and a full pipe would stop us
    os.dup2(2, 1)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    failure = ""
    try:
        if server is None:
            remote.begin(*start)
        else:
            threading.Thread(target=_end_with_worker, args=(server,), daemon=True).start()
            os.environ.update(child_environment(start[0]))
    except BaseException:
        failure = traceback.format_exc()
    with suppress(EOFError):
        link.send_bytes(failure.encode())
        while call := link.recv_bytes():
            link.send_bytes(_answer(call))
        os._exit(0)
    threading.Event().wait()  # the worker is dead, and so are we in a moment


def _answer(call: bytes) -> bytes:
    """Whether it is good, and the value or the exception."""
    try:
        function, args, kwargs = pickle.loads(call)
        return pickle.dumps((True, function(*args, **kwargs)))
    except BaseException as error:
        return pickle.dumps((False, error))


def _end_with_worker(server: int) -> None:
    """And so does its ppserver, which would go on giving calls to the dead."""
    worker = multiprocessing.parent_process()
    assert worker is not None
    worker.join()
    with suppress(OSError):
        signal.pidfd_send_signal(server, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
