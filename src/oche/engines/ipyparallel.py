"""`ipyparallel:`: IPython Parallel, a cluster that runs or, without a name, one that is started for us.

    connect("ipyparallel://PROFILE")                the cluster of an IPython profile, as `ipcluster start` leaves it
    connect("ipyparallel://PROFILE/CLUSTER_ID")     one of several
    connect("ipyparallel:///PATH/FILE.json")        by its connection file, ipcontroller-client.json
    connect("ipyparallel:")                         `max_workers` engines on this machine, which end with the cluster

A call goes to an engine that has none of ours, so nothing waits at one engine while another is free; engines that come
later take part. Engines of this library are not started again when they die, except by `ipyparallel:`.

What it lacks beside `local:`, and what becomes of that:

- A call that runs on another machine cannot be told to stop: it runs to its end, and its answer is dropped.
- Nobody ends a call by force. `ipyparallel:` ends its engines with the cluster, also those that do not listen.
- A call over its time limit is interrupted in Python code only. In compiled code it is given up after two seconds more.
- Without an engine for `GONE` seconds, or without a word from the controller for `SILENT` seconds, and for `CONNECT`
  more, the cluster is `Broken`. One that is back by then is taken.
- An engine whose machine vanishes is missed by the controller, by its heartbeats: after half a minute.
- What calls print is sent to the client by the library, and not shown.

Calls are signed with the key in the connection file, by the library: whoever can read it may run what he likes there.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import ipyparallel
from IPython.paths import get_ipython_dir

from oche.engines import remote
from oche.engines.attached import Attached, Attachment
from oche.engines.seam import EngineTraits
from oche.errors import Broken, ConfigError, Disconnected
from oche.servers.ipyparallel import IPythonCluster
from oche.worker.slot import INITIALIZER_LIMIT

#: Seconds that a cluster may take to answer and to have an engine; without engines; of silence; between two looks;
#: without an answer, after which the controller is asked whether it lives.
CONNECT, GONE, SILENT, LOOK, QUIET = 10.0, 20.0, 30.0, 0.2, 5.0
#: Engines in a row that died in the initializer.
DEATHS = 3


class IPyParallelEngine(Attached):
    """A controller with its engines."""

    traits = EngineTraits(here=False, timeout=True, stop=False, kill=False, survives=True, output=False)
    tree, command = IPythonCluster, "ipcluster start"

    def attach(self) -> Attachment:
        return EnginesExecutor(_file(self.url), self.begin)


class EnginesExecutor(Attachment):
    """Gives each call to an engine that is free; it breaks for good where nobody would run them."""

    def __init__(self, file: Path, begin: tuple[int, str, bytes] | None) -> None:
        """`begin`: what `remote.begin` is given on each engine before its first call; None for engines of others.

        Raises `Disconnected` where nobody answers, or there is no engine, `Broken` where `begin` fails.
        """
        self._file, self._begin = file, begin
        self._client = _client(file, CONNECT)
        self._turn = threading.Condition(threading.RLock())  # guards all that follows
        self._known: set[int] = set()  # engines that take calls
        self._beginning: set[int] = set()
        self._busy: dict[int, Future[Any]] = {}  # engine -> its call
        self._waiting: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._deaths = 0
        self._heard = time.monotonic()  # when the controller was last known to live
        self._refusal: RuntimeError | None = None  # what `submit` raises
        self._ending = threading.Event()
        self._watching = threading.Thread(target=self._watch, name="oche-ipyparallel", daemon=True)
        self._watching.start()
        self.slots = self._await_engines()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = Future[Any]()
        with self._turn:
            if self._refusal is not None:
                raise self._refusal
            self._waiting.append((future, partial(fn, **kwargs) if kwargs else fn, args))
            self._deal()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Drops what is out."""
        self._break(RuntimeError("cannot schedule new futures after shutdown"))
        self._ending.set()
        self._watching.join()
        self._client.close(linger=0)

    def _await_engines(self) -> int:
        with self._turn:
            limit = CONNECT if self._begin is None else INITIALIZER_LIMIT
            self._turn.wait_for(lambda: self._refusal or (self._known and not self._beginning), limit)
            found, refusal = len(self._known), self._refusal
        if found and refusal is None:
            return found
        self.shutdown()
        if isinstance(refusal, Broken):
            raise refusal
        raise Disconnected(f"the cluster of {self._file} has no engine; start some with `ipcluster engines`")

    def _deal(self) -> None:
        """Gives out what waits, as far as engines are free. The turn is the caller's, as in all that follows it."""
        for number in sorted(self._known.intersection(self._client.ids) - self._busy.keys()):
            while self._waiting:
                future, fn, args = self._waiting.popleft()
                if future.set_running_or_notify_cancel():
                    self._busy[number] = future
                    self._send(number, fn, args, self._told)
                    break

    def _welcome(self, number: int) -> None:
        if self._begin is None:
            self._known.add(number)
        else:
            self._beginning.add(number)
            self._send(number, remote.begin, self._begin, self._begun)

    def _send(
        self, number: int, fn: Callable[..., Any], args: tuple[Any, ...], told: Callable[[int, Future[Any]], None]
    ) -> None:
        with suppress(IndexError, ipyparallel.NoEnginesRegistered):  # it has just gone: the next look will tell
            self._client.direct_view(number).apply_async(fn, *args).add_done_callback(partial(told, number))

    def _told(self, number: int, answer: Future[Any]) -> None:
        with self._turn:
            self._heard = time.monotonic()
            self._client.history.clear()  # it would keep the name of each call
            future = self._busy.pop(number, None)
            self._deal()
        if future is None:  # it was given up
            return
        if (error := answer.exception()) is None:
            future.set_result(answer.result())
        else:
            future.set_exception(BrokenExecutor(str(error)) if _died(error) else error)

    def _begun(self, number: int, answer: Future[Any]) -> None:
        error = answer.exception()
        with self._turn:
            if error is not None and _died(error):
                return  # the next look will tell
            self._beginning.discard(number)
            if error is None:
                self._deaths = 0
                self._known.add(number)
                self._deal()
            else:
                self._break(Broken(f"the initializer failed in an engine: {error}"))
            self._turn.notify_all()

    def _watch(self) -> None:
        """Sees engines come and go, and whether there is a controller at all."""
        seen = time.monotonic()
        while self._refusal is None:
            now, here = time.monotonic(), set(self._client.ids)
            with self._turn:
                self._look(here)
                quiet = bool(self._busy) and now - self._heard > QUIET
            if here:
                seen = now
            elif now - seen > GONE:
                self._break(BrokenExecutor(f"the cluster of {self._file} has had no engine for {GONE:g} s"))
            if quiet:
                try:
                    _client(self._file, SILENT).close(linger=0)
                    self._heard = time.monotonic()
                except Exception as error:  # whatever it is, nobody else would look again
                    self._break(BrokenExecutor(str(error)))
            self._ending.wait(LOOK)

    def _look(self, here: set[int]) -> None:
        for number in self._busy.keys() - here:
            self._busy.pop(number).set_exception(BrokenExecutor(f"engine {number} died"))
        self._deaths += len(self._beginning - here)
        if self._deaths >= DEATHS:
            self._break(Broken(f"{DEATHS} engines in a row died in the initializer"))
        self._known &= here
        self._beginning &= here
        for number in here - self._known - self._beginning:
            self._welcome(number)
        self._deal()
        self._turn.notify_all()

    def _break(self, refusal: RuntimeError) -> None:
        with self._turn:
            self._refusal = self._refusal or refusal
            while self._waiting:
                self._waiting.popleft()[0].cancel()
            while self._busy:
                self._busy.popitem()[1].set_exception(BrokenExecutor(str(refusal)))
            self._turn.notify_all()


def _died(error: BaseException) -> bool:
    """Whether this is the library's word for an engine that died; it comes by name only."""
    return isinstance(error, ipyparallel.RemoteError) and error.ename == ipyparallel.error.EngineError.__name__


def _client(file: Path, patience: float) -> ipyparallel.Client:
    if not file.exists():
        raise Disconnected(f"no cluster runs here: there is no {file}; start one with `ipcluster start`")
    try:
        return ipyparallel.Client(str(file), timeout=patience)
    except OSError as error:
        raise Disconnected(
            f"no controller answers as {file} says ({error}); start it with `ipcluster start`"
        ) from error


def _file(url: str) -> Path:
    """The connection file for clients."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.query or parts.fragment or not (parts.netloc or path.endswith(".json")):
        raise ConfigError(
            f"{url!r} names no cluster; say ipyparallel://PROFILE, ipyparallel://PROFILE/CLUSTER_ID, "
            f"ipyparallel:///PATH/ipcontroller-client.json, or 'ipyparallel:' for one of our own"
        )
    if not parts.netloc:
        return Path(path)
    name = "-".join(filter(None, ("ipcontroller", path.strip("/"), "client.json")))
    return Path(get_ipython_dir()) / f"profile_{parts.netloc}" / "security" / name
