"""`dask:`: Dask.distributed. `dask://host:8786` is a scheduler that runs, `dask:` starts one with workers of its own.

    connect("dask://host")     as many calls at a time as its workers have threads when it is opened
    connect("dask:")           `max_workers` workers on this machine, which end with the cluster

What it lacks beside `local:`, and what becomes of that:

- Dask runs calls in threads of its workers, and those cannot be interrupted: a time limit is refused (`Unsupported`).
- A call that runs on a scheduler that others started cannot be told to stop, unless its worker is on this machine: it
  runs to its end, and its answer is dropped. Workers of `dask:` are told.
- Nobody ends a call by force. `dask:` ends its workers with the cluster, also those that do not listen.
- A worker that dies takes the calls of all its threads along. They are put again, each with one try less. `dask:` tells
  at once; a scheduler of others tries a call on as many workers as its `allowed-failures` says, before it tells us.
- Without a worker for `GONE` seconds, and for `CONNECT` more, the cluster is `Broken`; likewise `CONNECT` seconds after
  the scheduler was lost, or silent for `SILENT` seconds. One that is back by then is taken, and all is put again.
- A worker that falls silent, with its machine or in compiled code that keeps Python's lock, is given up by a scheduler
  of others, by its `worker-ttl`: after five minutes. `dask:` waits for it.
- What calls print goes to the workers' own output.

Whoever reaches the scheduler's port may run what he likes there. That is Dask's rule, and its remedy is TLS, which is
taken where Dask's own settings ask for it (`distributed.comm.require-encryption`). `dask:` listens on loopback only.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Future
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import dask.config
from distributed import Client, KilledWorker, WorkerPlugin

from oche.engines import remote
from oche.engines.attached import Attached, Attachment
from oche.engines.seam import EngineTraits
from oche.errors import Broken, ConfigError, Disconnected
from oche.servers.dask import DaskCluster

PORT = 8786
#: Seconds that a scheduler may take to answer and to have a worker; without workers; of silence; between two looks.
CONNECT, GONE, SILENT, LOOK = 10.0, 10.0, 60.0, 1.0
#: Seconds that an initializer may take.
INITIALIZER_LIMIT = 3600.0


class DaskEngine(Attached):
    """A scheduler with its workers."""

    traits = EngineTraits(here=False, timeout=False, stop=False, kill=False, survives=True, output=False)
    tree, command = DaskCluster, "dask worker"

    def attach(self) -> Attachment:
        return DaskExecutor(_address(self.url), None if self.begin is None else _Begin(*self.begin))


class DaskExecutor(Attachment):
    """Calls for a scheduler, in an event loop of their own; it breaks for good where nobody would run them."""

    def __init__(self, address: str, plugin: WorkerPlugin | None) -> None:
        """Raises `Disconnected` where nobody answers, or there is no worker, `Broken` if the plugin fails in one."""
        self._address, self._plugin = address, plugin
        self._out = 0  # calls
        self._lock = threading.Lock()
        self._refusal: RuntimeError | None = None  # guarded by the lock: what `submit` raises
        up = Future[None]()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(up)), name="oche-dask", daemon=True)
        self._thread.start()
        try:
            up.result()
        except BaseException:
            self.shutdown()
            raise

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        with self._lock:
            if self._refusal is not None:
                raise self._refusal
            return asyncio.run_coroutine_threadsafe(self._call(fn, args, kwargs), self._loop)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Drops what is out."""
        self._refuse(RuntimeError("cannot schedule new futures after shutdown"))
        with suppress(RuntimeError, AttributeError):  # it has ended already, or never begun
            self._loop.call_soon_threadsafe(self._ending.set)
        if wait:
            self._thread.join(CONNECT)

    def _refuse(self, refusal: RuntimeError) -> None:
        with self._lock:
            self._refusal = self._refusal or refusal

    async def _serve(self, up: Future[None]) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        try:
            self._client = Client(self._address, asynchronous=True, set_as_default=False, timeout=CONNECT)
            try:
                await asyncio.wait_for(self._client, CONNECT + LOOK)  # its own limit does not count all of the way
                self.slots = await self._threads()
                await self._plug()
                up.set_result(None)
                self._refuse(BrokenExecutor(await self._watch()))
            finally:
                self._refuse(BrokenExecutor(f"the client of the scheduler at {self._address} has ended"))
                with suppress(OSError):
                    await self._client.close(timeout=CONNECT)
        except BaseException as error:
            if up.done():
                raise
            up.set_exception(error if isinstance(error, Broken) else self._nobody(error))

    def _nobody(self, error: BaseException) -> Disconnected:
        why = str(error) or "silence"
        return Disconnected(
            f"no Dask scheduler with workers at {self._address} ({why}); start them with `dask scheduler` and "
            f"`dask worker {self._address}`"
        )

    async def _plug(self) -> None:
        if self._plugin is not None:
            try:
                await asyncio.wait_for(self._client.register_plugin(self._plugin), INITIALIZER_LIMIT)
            except Exception as error:
                raise Broken(f"the initializer failed in a worker: {type(error).__name__}: {error}") from error

    async def _threads(self) -> int:
        end = time.monotonic() + CONNECT
        while not (threads := await asyncio.wait_for(self._client.nthreads(), CONNECT)):
            if time.monotonic() > end:
                raise TimeoutError("it has no worker")
            await asyncio.sleep(0.05)
        return sum(threads.values())

    async def _watch(self) -> str:
        """Returns why it cannot go on."""
        seen = time.monotonic()
        while not self._ending.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), LOOK)
            if self._client.status != "running":
                return f"the scheduler at {self._address} is lost"
            try:
                there = await asyncio.wait_for(self._client.nthreads(), SILENT) if self._out else True
            except OSError as error:
                return f"the scheduler at {self._address} does not answer ({error})"
            if there:
                seen = time.monotonic()
            elif time.monotonic() - seen > GONE:
                return f"the scheduler at {self._address} has had no worker for {GONE:g} s"
        return "it was shut down"

    async def _call(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
            future = self._client.submit(fn, *args, key=f"oche-{uuid4().hex}", pure=False, **kwargs)
        self._out += 1
        try:
            return await future
        except KilledWorker as error:
            raise BrokenExecutor(str(error)) from error
        except (CancelledError, OSError) as error:  # not our own, which is asyncio's
            if self._client.status != "running":
                self._refuse(BrokenExecutor(f"the scheduler at {self._address} is lost"))
                self._ending.set()
            raise BrokenExecutor(f"the scheduler has lost the call: {error}") from error
        finally:
            self._out -= 1
            future.release()


class _Begin(WorkerPlugin):
    """What a worker of ours does first, and once."""

    name, idempotent = "oche", True

    def __init__(self, slots: int, store: str, initializer: bytes) -> None:
        self._begin = (slots, store, initializer)

    def setup(self, worker: Any) -> None:
        remote.begin(*self._begin)


def _address(url: str) -> str:
    """Dask's own word for it."""
    parts = urlsplit(url)
    try:
        port = parts.port or PORT
    except ValueError as error:
        raise ConfigError(f"{url!r} has a port that is none; say dask://HOST:{PORT}") from error
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(f"{url!r} does not name a scheduler; say dask://HOST:{PORT}, or 'dask:' for one of our own")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{'tls' if dask.config.get('distributed.comm.require-encryption') else 'tcp'}://{host}:{port}"
