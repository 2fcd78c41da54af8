"""`pp:`: Parallel Python (ppft). `pp://host:port` are ppservers that run, `pp:` starts workers of its own.

    connect("pp:")                                    `max_workers` workers on this machine, which end with the cluster
    connect("pp://:SECRET@host1:60000,host2:60000")   the workers of `ppserver -s SECRET -p 60000` there
    connect("pp://:SECRET@*:60000")                   those that `ppserver -a` announces in this network, or in 10.1.2.*

The workers are ppft's, and so is what is said to them; ppft's own client is left out, since it does not tell when a
worker died, and lets small writes wait for acknowledgements. What it lacks beside `local:`, and what becomes of that:

- A call that runs in a ppserver cannot be told to stop, unless it is on this machine: it runs to its end, and its
  answer is dropped. Workers of `pp:` are told, and killed with the cluster.
- A process that dies takes its own call along and nothing else; that is put again.
- When a ppserver ends, its calls are put again, and it is tried again each second. If none answers for `GONE` seconds,
  the cluster is `Broken`. One whose machine vanishes is missed after a minute.
- A call over its time limit is interrupted in Python code only. In compiled code it is given up after two seconds more.
- What calls print goes to the program's stderr, or is lost in a ppserver.

Whoever knows the secret may run what he likes in a ppserver, and ppft's default secret is known to all. A ppserver
proves nothing to us, and nothing is encrypted: for networks that you trust. oche must be installed there, and the same
ppft.
"""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Self
from urllib.parse import unquote

from oche.engines.parallel_python_hand import DIED
from oche.engines.parallel_python_lines import PUBLIC_SECRET, RUN, VERSION, Line, Ours, Theirs, find
from oche.engines.process import workers
from oche.engines.seam import Engine, EngineTraits, Start
from oche.errors import Broken, ConfigError, Disconnected, Unsupported
from oche.plugins import without_password
from oche.queues.opening import local_host
from oche.wire.pickles import pickled
from oche.worker.slot import Unfit

log = logging.getLogger("oche")

URL, PORT = "pp:", 60000
#: Seconds without any worker; between two tries to reach one.
GONE, RETRY = 10.0, 1.0


class ParallelPythonEngine(Engine):
    """ppservers of others, or workers of our own."""

    traits = EngineTraits(here=False, timeout=True, stop=False, kill=False, survives=True, output=False)

    def __init__(self, lines: Callable[[], list[Line]]) -> None:
        self._lines = lines
        first = lines()
        self.slots = len(first)
        self._first: Lines | None = Lines(first)

    @classmethod
    def open(cls, url: str, start: Start) -> Self:
        if url.startswith(f"{URL}//"):
            return cls._there(url, start)
        slots = workers(url, URL, start)
        begin = (slots, start.store, b"" if start.initializer is None else pickled((start.initializer, start.initargs)))
        engine = cls(lambda: [Ours(begin) for _ in range(slots)])
        engine.traits = EngineTraits(here=True, timeout=True, stop=True, kill=False, survives=True, output=False)
        return engine

    @classmethod
    def _there(cls, url: str, start: Start) -> Self:
        shown = without_password(url)
        if start.max_workers is not None or start.initializer is not None:
            raise Unsupported(
                f"the workers of {shown} are not started by connect; start them with `ppserver -w N`, or take {URL!r}"
            )
        secret, named = _places(url)
        places = [place for host, port in named for place in (find(host, port) if "*" in host else [(host, port)])]
        counts: dict[tuple[str, int], int] = {}
        errors = []
        for place in places:
            try:
                counts[place] = Theirs(place, secret).count()
            except Disconnected as error:
                errors.append(str(error))
                log.warning("%s; going on without", error)
        if not counts:
            raise Disconnected(
                f"nobody at {shown} ({'; '.join(errors) or 'none has announced itself'}); start it with "
                f"`ppserver -p {PORT} -s SECRET`, with ppft {VERSION}"
            )
        return cls(lambda: [Theirs(place, secret, n) for place, n in counts.items() for _ in range(n)])

    def executor(self) -> Executor:
        first, self._first = self._first, None
        try:
            return Lines(self._lines()) if first is None else first
        except (Broken, Disconnected) as error:
            raise Unfit(str(error)) from error

    def close(self) -> None:
        if self._first is not None:
            self._first.shutdown()


class Lines(Executor):
    """Calls for workers of ppft, a thread and a line for each. It breaks for good once none can be opened."""

    def __init__(self, lines: list[Line]) -> None:
        """Raises `Broken` where an initializer fails, `Disconnected` where no line can be opened."""
        self._lines = lines
        self._calls = SimpleQueue[tuple[Future[Any], bytes] | None]()  # after a None come no more
        self._closing = threading.Event()
        self._lock = threading.Lock()  # guards the next three
        self._refusal: RuntimeError | None = None  # what `submit` raises
        self._up = 0  # lines
        self._since = time.monotonic()  # when that last became 0
        firsts = [Future[None]() for _ in lines]
        self._threads = [
            threading.Thread(target=self._keep, args=both, name="oche-pp", daemon=True)
            for both in zip(lines, firsts, strict=True)
        ]
        for thread in self._threads:
            thread.start()
        errors = [error for first in firsts if (error := first.exception()) is not None]
        broken = [error for error in errors if isinstance(error, Broken)]
        if broken or len(errors) == len(lines):
            self.shutdown()
            raise (broken or errors)[0]

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future, call = Future[Any](), pickle.dumps((fn, args, kwargs))
        with self._lock:
            if self._refusal is not None:
                raise self._refusal
            self._calls.put((future, call))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Drops what is out."""
        self._refuse(RuntimeError("cannot schedule new futures after shutdown"))
        for line in self._lines:
            line.cut()
        for thread in self._threads:
            thread.join()

    def _refuse(self, refusal: RuntimeError) -> None:
        with self._lock:
            self._refusal = self._refusal or refusal
        self._closing.set()
        self._clear()

    def _clear(self) -> None:
        with suppress(Empty):
            while True:
                call = self._calls.get_nowait()
                if call is not None and call[0].set_running_or_notify_cancel():
                    call[0].set_exception(BrokenExecutor(f"it never ran: {self._refusal}"))
        self._calls.put(None)

    def _keep(self, line: Line, first: Future[None]) -> None:
        """One thread: opens the line again and again."""
        while not self._closing.is_set():
            try:
                line.open()
                with self._lock:
                    self._up += 1
                if not first.done():
                    first.set_result(None)
                self._work(line)
                with self._lock:
                    self._up, self._since = self._up - 1, time.monotonic()
            except (Broken, OSError) as error:  # of ours, or no descriptor, no process to be had
                with self._lock:
                    lost = not self._up and time.monotonic() - self._since > GONE
                if not first.done():
                    first.set_exception(error)
                elif lost or isinstance(error, Broken):
                    self._refuse(BrokenExecutor(str(error)))
                self._closing.wait(RETRY)
            finally:
                line.close()
        self._clear()  # what was put back meanwhile

    def _work(self, line: Line) -> None:
        """Until the line breaks, or the end."""
        while (call := self._calls.get()) is not None:
            if line.broken():
                self._calls.put(call)
                return
            future, body = call
            if not future.set_running_or_notify_cancel():
                continue
            try:
                answer = line.ask(RUN, line.slots, body)
                good, value = (
                    pickle.loads(answer) if answer != DIED else (False, BrokenExecutor("its process has died"))
                )
            except Disconnected as error:
                future.set_exception(BrokenExecutor(str(error)))
                return
            except Exception as error:  # the worker could not call it, or we not read the answer
                good, value = False, error
            if good:
                future.set_result(value)
            else:
                future.set_exception(value)


def _places(url: str) -> tuple[str, list[tuple[str, int]]]:
    """Secret, hosts and ports."""
    shown, form = without_password(url), f"say pp://:SECRET@HOST:{PORT}"
    who, at, hosts = url.removeprefix(f"{URL}//").rpartition("@")
    secret = unquote(who.removeprefix(":"))
    places = []
    for place in hosts.split(","):
        host, _, port = place.partition(":")
        if not host or not (port or str(PORT)).isdecimal() or int(port or PORT) > 65535:
            raise ConfigError(
                f"{shown!r} does not name a ppserver's host and port; {form}, or {URL!r} for workers here"
            )
        places.append((host, int(port or PORT)))
    if at and not secret:
        raise ConfigError(f"{shown!r} has an empty secret; {form}")
    if not at and not local_host(url):
        raise ConfigError(
            f"{shown!r} names other machines and no secret, and all know that of ppft; start them with `ppserver -s "
            f"SECRET`, and {form}"
        )
    return secret or PUBLIC_SECRET, places
