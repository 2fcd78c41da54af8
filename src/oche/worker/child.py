"""The child: the program that computes, `python -m oche.worker.child REQUESTS REPLIES PAGE PARENT`.

A program of its own rather than a fork, so that nothing of the parent's (threads, locks, the user's
`__main__`) comes along. It imports little, since a job may be waiting, and it does not outlive its parent.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

#: Seconds in which a peak does not grow by much: a core touches some 2 GB of new memory a second.
_GLANCE = 0.005


def die_with_parent(parent: int) -> None:
    """Arranges that this process is killed when the thread that spawned it ends, however it ends.

    Where the system cannot do that, the end of the request pipe does, once the running call is over.
    """
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
    else:
        import threading
        import time

        def watch() -> None:
            while os.getppid() == parent:
                time.sleep(0.5)
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
    if os.getppid() != parent:  # it died before we got here
        os._exit(1)


def peak_memory() -> tuple[Callable[[], int], int]:
    """A function that tells this process's peak memory in bytes, and the peak it was born with, in KiB.

    A child inherits its parent's peak across exec; when the parent is larger than we are, the kernel's status
    file tells the truth, at 20 times the price; it is read once in `_GLANCE`.
    """
    import resource
    import time

    scale = 1 if sys.platform == "darwin" else 1024
    born = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if born <= 1.2 * high_water_mark() / scale or not os.path.exists("/proc/self/status"):
        return lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale, 0
    seen, at = 0, -_GLANCE

    def glance() -> int:
        nonlocal seen, at
        now = time.monotonic()
        if now - at >= _GLANCE:
            seen, at = high_water_mark(), now
        return seen

    return glance, born


def high_water_mark(process: int | str = "self") -> int:
    """Peak memory of a living process in bytes, by its id; 0 where the system does not tell."""
    try:
        with open(f"/proc/{process}/status", "rb") as status:
            for line in status:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def main(arguments: list[str]) -> int:
    """Serves until the request pipe ends; returns the exit status."""
    requests, replies, page_fd, parent = map(int, arguments)
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C at the terminal is the parent's to answer
    for fd in (requests, replies):
        os.set_inheritable(fd, False)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]

    import msgspec

    from oche.worker.context import Desk, sit
    from oche.worker.frames import TRUSTED, Incoming, Setup, pack, read_frame, write_all
    from oche.worker.page import Page
    from oche.worker.running import CalledOff, Runner

    page = Page(page_fd)
    os.close(page_fd)
    incoming = Incoming()
    first = read_frame(requests, incoming)
    if first is None:
        return 0
    setup = msgspec.json.decode(first.body, type=Setup)
    peak, born = peak_memory()
    desk = Desk(page, setup.worker)
    sit(desk)
    runner = Runner(desk, setup, peak)

    def on_term(_number: int, _frame: FrameType | None) -> None:
        if runner.running:
            raise CalledOff
        os._exit(0)

    signal.signal(signal.SIGTERM, on_term)
    me = os.getpid()
    write_all(replies, pack(*_begin(setup, born)))
    while (frame := read_frame(requests, incoming)) is not None:
        kind, body = runner.run(frame.body, frame.number, trusted=frame.kind == TRUSTED)
        if os.getpid() != me:  # the task forked and its copy came back here: the answer is not its to give
            os._exit(0)
        _flush()  # before the reply, so that the parent finds all that was printed when it reads the reply
        write_all(replies, pack(kind, 0, body))
    return 0


def _begin(setup: object, born: int) -> tuple[int, int, bytes]:
    """Sets paths and logging and runs the initializer; returns the first reply."""
    from oche.wire.outcome import Cause, Failure
    from oche.worker.frames import READY, UNFIT, Setup, encode_failure

    assert isinstance(setup, Setup)
    sys.path[:] = [*setup.path, *(entry for entry in sys.path if entry not in setup.path)]
    if not setup.initializer:
        return READY, born, b""
    try:
        import pickle

        function, arguments = pickle.loads(setup.initializer)
        function(*arguments)
    except BaseException as error:
        from oche.wire.exceptions import describe

        try:
            failure = describe(error, pickles=True)
        except Exception:
            failure = Failure(cause=Cause.RAISED, message=f"{type(error).__name__}, beyond description")
        return UNFIT, 0, encode_failure(failure)
    return READY, born, b""


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # the task closed or replaced it
            continue


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
