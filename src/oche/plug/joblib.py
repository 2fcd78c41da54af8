"""joblib on a cluster: `import oche.plug.joblib`, then `joblib.parallel_config("oche", url=...)`.

    Parallel --batch of calls--> pickle, large arrays apart --> a call on the cluster --> results, as a pickle
                                           |                            ^
                                           +--> the cluster's store ----+

joblib cuts the batches, by measured time; a call is a batch. Its arguments are the functions themselves, by name and
fingerprint, so that a worker with other code refuses it, then the pickle, then references to the arrays.
"""

from __future__ import annotations

import inspect
import logging
import math
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from types import FunctionType
from typing import Any

from joblib.parallel import AutoBatchingMixin, ParallelBackendBase, register_parallel_backend

from oche.cluster.executor import Cluster
from oche.engines.opening import connect
from oche.errors import ConfigError, ValueLost
from oche.plug.shelf import Shelf
from oche.stores.arrays import ArrayRef, view
from oche.wire.pickles import loads, pickled, pickled_apart
from oche.wire.symbols import symbol
from oche.wire.task import task

log = logging.getLogger("oche")

#: Bytes from which on memory is cheaper to find by reference, on one machine, than to take along as text.
NEAR = 32 << 10
#: How often a batch is sent again because an array of it was lost in the store; then its caller is told.
LOSSES = 3


class OcheBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """Runs joblib's calls on a cluster: on one that the caller has, or on one of its own, by a URL.

    A cluster of its own is opened at once, as by `oche.connect(url, **options)`, and ends some moments after nobody
    has the backend any more, that is after the `with` block of `parallel_config`. `n_jobs=-1`, the default, means the
    cluster's slots; calls inside of calls run in threads of their worker, one unless they ask for more.
    """

    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(
        self, url: str | None = None, *, cluster: Cluster | None = None, nesting_level: int | None = None,
        inner_max_num_threads: int | None = None, **options: Any,
    ) -> None:  # fmt: skip
        if cluster is not None and (url is not None or options):
            raise ConfigError("the backend was given a cluster, and a URL or options to open one; give one of both")
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self._cluster = connect(url, **options) if cluster is None else cluster
        self._shelf = None if self._cluster.store is None else Shelf(self._cluster.store)
        self._least = math.inf
        store = self._cluster.store
        self._near = NEAR if store is not None and store.traits.here_only else math.inf
        self._out: set[Future[bytes]] = set()
        # Callbacks pull the caller's input, which may wait for this very cluster: not in the cluster's own threads.
        self._actions: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        own = self._cluster if cluster is None else None
        threading.Thread(target=_act, args=(self._actions, own), name="oche-joblib", daemon=True).start()
        # A finalizer may run in the midst of anything, so it does no more than this.
        weakref.finalize(self, self._actions.put, None).atexit = False

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """`n_jobs` as given; -1 is all slots, -2 all but one. Raises `ConfigError` for 0."""
        if n_jobs == 0:
            raise ConfigError("n_jobs is 0; give -1 for all slots of the cluster, or how many calls to run at a time")
        if n_jobs is not None and n_jobs > 0:
            return n_jobs
        # Where the answer is 1, joblib computes here and not on the cluster.
        return max(2, self._cluster.slots + 1 + (-1 if n_jobs is None else n_jobs))

    def configure(
        self, n_jobs: int = 1, parallel: Any = None, max_nbytes: int | None = None, temp_folder: object = None,
        mmap_mode: object = None, prefer: object = None, require: object = None, verbose: object = None,
        context: object = None, **unknown: object,
    ) -> int:  # fmt: skip
        """joblib's word before a call. Where there is a store, arrays of `max_nbytes` or more go by reference, and are
        read-only for the calls; smaller ones, which a program may change between two batches, are theirs.
        """
        if unknown:
            raise ConfigError(f"Parallel was given {', '.join(unknown)}; give that to parallel_config('oche', ...)")
        self.parallel = weakref.proxy(parallel)  # which has us: the cluster is to end with the last one that uses it
        self._least = math.inf if max_nbytes is None or self._shelf is None else max(1, max_nbytes)
        return self.effective_n_jobs(n_jobs)

    def submit(self, func: Any, callback: Callable[[Future[bytes]], None]) -> Future[bytes]:
        """Puts a batch; `callback` is told its Future once that is done. Raises nothing: the Future has the error."""
        return self._send(func, callback, LOSSES)

    def retrieve_result_callback(self, out: Future[bytes]) -> Any:
        """The results of a batch. Raises what a call raised."""
        return loads(out.result())

    def stop_call(self) -> None:
        """Arrays that went by reference are forgotten."""
        if self._shelf is not None:
            self._shelf.clear()

    def terminate(self) -> None:
        """The call is over; the cluster stays for the next one."""
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Calls off all that is out, also what runs."""
        for future in tuple(self._out):
            future.cancel()

    def _send(self, batch: Any, callback: Callable[[Future[bytes]], None], tries: int) -> Future[bytes]:
        refs: list[ArrayRef] = []
        future: Future[bytes]
        try:
            pickle, apart = pickled_apart(batch, min(self._least, self._near))
            for memory in apart:
                assert self._shelf is not None
                refs.append(self._shelf.leave(memory, once=memory.nbytes < self._least))
            if self._shelf is not None and len(pickle) >= self._near:
                refs.append(self._shelf.leave(memoryview(pickle), once=True))
                pickle = b""
            # A batch is as large as joblib wants it. The function itself is no task: those may come unsigned.
            run = task(run_batch, alone=True)
            future = self._cluster.submit(run, _functions(batch.items), pickle, refs, self._least)
        except Exception as error:  # joblib would wait for ever for a batch that it could not submit
            future = Future()
            future.set_exception(error)
        self._out.add(future)

        def arrived(future: Future[bytes]) -> None:
            self._out.discard(future)
            self._actions.put(partial(self._arrived, future, refs, batch, callback, tries))

        future.add_done_callback(arrived)
        return future

    def _arrived(
        self, future: Future[bytes], refs: Sequence[ArrayRef], batch: Any,
        callback: Callable[[Future[bytes]], None], tries: int,
    ) -> None:  # fmt: skip
        lost = bool(refs) and not future.cancelled() and isinstance(future.exception(), ValueLost)
        if self._shelf is not None:
            self._shelf.done(refs, lost=lost)
        if lost and tries:
            self._send(batch, callback, tries - 1)
        else:
            callback(future)


def run_batch(functions: Sequence[object], batch: bytes, arrays: Sequence[ArrayRef], least: float) -> bytes:
    """Calls a batch on a worker; `functions` are checked where they are decoded. Returns its results as a pickle.

    Arrays of less than `least` bytes are the calls' own. An empty batch is the last of the arrays.
    """
    seen = [view(ref) for ref in arrays]
    calls: Any = loads(
        batch or bytes(seen.pop()), (memory if memory.nbytes >= least else bytearray(memory) for memory in seen)
    )
    return pickled(calls())


def _functions(calls: Iterable[tuple[Any, Any, Any]]) -> list[object]:
    """The functions of the calls that workers import, also those that something is wrapped around."""
    distinct = {id(function): function for function, _, _ in calls}.values()
    found = (part for function in distinct for part in (function, inspect.unwrap(function)))
    return list({id(part): part for part in found if isinstance(part, FunctionType) and symbol(part)}.values())


def _act(actions: SimpleQueue[Callable[[], None] | None], cluster: Cluster | None) -> None:
    """The thread of a backend, which it must not know: it ends with it, and ends the cluster of its own."""
    while (action := actions.get()) is not None:
        try:
            action()
        except Exception:
            log.exception("a batch of joblib's came back and could not be handed on")
        del action
    if cluster is not None:
        cluster.shutdown(cancel_futures=True)


# joblib knows backends by name only once they are registered, and it asks for no entry point.
register_parallel_backend("oche", OcheBackend)
