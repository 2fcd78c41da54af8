"""The parent's side of one child: start it, give it jobs, hear its replies, see it die.

One poll listens to the reply pipe, to what the child prints and to its death, so that none of them waits for
another. Death is seen by pidfd, at once, even while a grandchild keeps the pipes open.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import sysconfig
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from oche.worker import frames
from oche.worker.child import high_water_mark
from oche.worker.cores import usable_cores
from oche.worker.output import Capture
from oche.worker.page import Page, open_page
from oche.worker.spawning import spawn

_CHUNK = 1 << 16
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL
#: Libraries that would each start a thread per core in each child.
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)


@dataclass(frozen=True, slots=True)
class End:
    """How a child ended."""

    signal: str  #: "SIGKILL", or "exit 3"
    peak: int  #: bytes of memory it held at most, as far as was seen; 0 if unknown


def child_environment(slots: int) -> dict[str, str]:
    """The environment for the children of a worker with so many slots: cores shared out, oche importable."""
    environment = dict(os.environ)
    for name in _THREADS:
        environment.setdefault(name, str(max(1, usable_cores() // slots)))
    root = str(Path(__file__).resolve().parents[2])
    if root not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        given = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{root}{os.pathsep}{given}" if given else root
    return environment


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


class Child:
    """One child process. Used by the one thread that made it: the child dies when that thread ends."""

    def __init__(self, setup: frames.Setup, *, environment: Mapping[str, str]) -> None:
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            requests, self._requests = self._pipe(theirs, ours)
            self._replies, replies = self._pipe(ours, theirs)
            self._printed, printed = self._pipe(ours, theirs)
            self._complained, complained = self._pipe(ours, theirs)
            page_fd, nothing = open_page(), os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            theirs.callback(os.close, page_fd)
            theirs.callback(os.close, nothing)
            self.page = Page(page_fd)
            self.page.clear()
            self.pid = spawn(
                [sys.executable, "-m", "oche.worker.child", "3", "4", "5", str(os.getpid())],
                (nothing, printed, complained, requests, replies, page_fd),
                environment,
            )
            ours.pop_all()  # `_close_pipes` ends them
        self.reply: frames.Frame | None = None  #: to the last thing sent, once it is here
        self.end: End | None = None  #: once it is dead
        self.ready = False  #: it said so
        self.jobs = 0  #: sent so far
        self.stdout = Capture()
        self.stderr = Capture()
        self._incoming = frames.Incoming()
        self._outgoing = memoryview(b"")
        self._born = 0  # KiB: what the system calls its peak is its own only above this
        self._seen = 0  # its peak as last looked at, for when it is not
        self._pidfd = self._open_pidfd()
        self._open: dict[int, Capture | None] = {}
        self._poll = select.poll()
        # The replies come first: a poll looks in this order, so that when it sees a reply it has yet to look
        # at the streams, which the child flushed before it replied.
        self._listen(self._replies, None)
        self._listen(self._printed, self.stdout)
        self._listen(self._complained, self.stderr)
        if self._pidfd >= 0:
            self._poll.register(self._pidfd, select.POLLIN)
        os.set_blocking(self._requests, False)
        self._send(frames.pack(frames.SETUP, 0, msgspec.json.encode(setup)))

    @staticmethod
    def _pipe(readers: contextlib.ExitStack, writers: contextlib.ExitStack) -> tuple[int, int]:
        read, write = os.pipe()
        readers.callback(os.close, read)
        writers.callback(os.close, write)
        return read, write

    def _open_pidfd(self) -> int:
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                return os.pidfd_open(self.pid)
        return -1

    def _listen(self, fd: int, capture: Capture | None) -> None:
        os.set_blocking(fd, False)
        self._open[fd] = capture
        self._poll.register(fd, select.POLLIN)

    def give(self, body: bytes, attempt: int, *, trusted: bool) -> None:
        """Sends a job. The reply to it, or the end, comes by `wait`."""
        self.reply = None
        self.jobs += 1
        if self.stdout:
            self.stdout.clear()
        if self.stderr:
            self.stderr.clear()
        self.page.stop[0] = 0
        self._send(frames.pack(frames.TRUSTED if trusted else frames.UNTRUSTED, attempt, body))

    def _send(self, data: bytes) -> None:
        try:
            sent = os.write(self._requests, data)
        except BlockingIOError:
            sent = 0
        except BrokenPipeError:
            return  # dead or dying: wait() will tell
        if sent < len(data):
            self._outgoing = memoryview(data)[sent:]
            self._poll.register(self._requests, select.POLLOUT)

    def _send_on(self) -> None:
        try:
            self._outgoing = self._outgoing[os.write(self._requests, self._outgoing[: 1 << 20]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._outgoing = memoryview(b"")
        if not self._outgoing:
            self._poll.unregister(self._requests)

    def wait(self, timeout: float) -> bool:
        """Listens once, up to `timeout` seconds; True once the reply or the end is there."""
        events = self._poll.poll(timeout * 1000)
        if not events:
            self._look()
        for fd, event in events:
            if fd == self._pidfd:
                self._died()
            elif fd == self._requests:
                self._send_on()
            elif self.end is None:
                self._read(fd, event)
        if self._pidfd < 0 and self.end is None and self.reply is None:
            self._died(os.WNOHANG)
        return self.reply is not None or self.end is not None

    def _read(self, fd: int, events: int) -> None:
        """Reads once of one of the child's pipes; at its end listens no more."""
        capture = self._open[fd]
        try:
            if capture is not None:
                data = os.read(fd, _CHUNK)
                capture.add(data)
                more = bool(data)
            else:
                more = self._incoming.fill(fd)
                frame = self._incoming.take()
                if frame is not None:
                    self._heard(frame)
        except BlockingIOError:
            more = not events & _GONE
        if not more:
            self._poll.unregister(fd)
            del self._open[fd]

    def _heard(self, frame: frames.Frame) -> None:
        if frame.kind == frames.READY:
            self.ready, self._born = True, frame.number
            self._look()
        self.reply = frame

    def _look(self) -> None:
        if self._born:
            self._seen = high_water_mark(self.pid) or self._seen

    def _died(self, flags: int = 0) -> None:
        """Reads what is left, ends what is left of its process group, and reaps it."""
        # Until it is reaped its id cannot name another process or group.
        if flags & os.WNOHANG and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        for fd in list(self._open):
            # Bounded, for a process that left the group may hold the pipe and write to it for ever.
            for _ in range(64):
                if fd not in self._open or self._drained(fd):
                    break
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        name = _signal_name(-code) if code < 0 else f"exit {code}"
        self.end = End(name, peak if usage.ru_maxrss > self._born else self._seen)
        self._close_pipes()

    def _drained(self, fd: int) -> bool:
        if not select.select([fd], [], [], 0)[0]:
            return True
        self._read(fd, 0)
        return False

    def output(self) -> list[tuple[str, str]]:
        """What the last job printed: (stream, text)."""
        streams = (("stdout", self.stdout), ("stderr", self.stderr))
        return [(name, capture.text()) for name, capture in streams if capture]

    def resident(self) -> int:
        """Bytes of memory the child holds now; 0 where the system does not tell."""
        try:
            with open(f"/proc/{self.pid}/statm", "rb") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            return 0

    def terminate(self) -> None:
        """SIGTERM: ends the running job by an exception, an idle child by exit. It must not get another job."""
        if self.end is None:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Ends the child and its process group, now."""
        if self.end is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._bury_within(10.0)

    def close(self, *, grace: float = 1.0) -> None:
        """Ends an idle child: lets it leave by itself for `grace` seconds, then kills it."""
        if self.end is None and self.ready:
            with contextlib.suppress(KeyError):
                self._poll.unregister(self._requests)
            os.close(self._requests)
            self._requests = -1
            self._bury_within(grace)
        self.kill()

    def _bury_within(self, seconds: float) -> None:
        """Waits for the death; a process that even SIGKILL cannot end (stuck in the kernel) is left to init."""
        until = time.monotonic() + seconds
        while self.end is None and (left := until - time.monotonic()) > 0:
            self.wait(min(left, 0.05) if self._pidfd < 0 else left)

    def _close_pipes(self) -> None:
        for fd in (self._requests, self._replies, self._printed, self._complained, self._pidfd):
            if fd >= 0:
                os.close(fd)
        self._requests = self._replies = self._printed = self._complained = self._pidfd = -1
        self._open.clear()
        self._poll = select.poll()
