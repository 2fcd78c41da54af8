"""`mpi:` by an mpiexec of our own, both ends: the executor of the client, and the ranks that mpiexec starts.

    client -- socket --> rank 0 -- MPI --> ranks 1, 2, ...    each is `python -m oche.engines.mpi_crew ADDRESS SIZE`

The client is no part of MPI, which ends all ranks when one dies. Rank 0 hands over and computes nothing. When its
client is gone, or has said that it is done, all end. The socket is in a folder that nobody else can enter.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from concurrent.futures import wait as ended
from contextlib import ExitStack, suppress
from functools import partial
from itertools import count
from multiprocessing.connection import Client, Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from oche.engines import remote
from oche.errors import Broken, Disconnected
from oche.worker.crew import child_environment
from oche.worker.slot import INITIALIZER_LIMIT, START_LIMIT
from oche.worker.spawning import spawn

#: Seconds that calls get to end once the client is gone; mpiexec after that; between two looks.
GRACE, END, LOOK = 1.0, 10.0, 0.01
#: Bytes before the pickle in a frame: the number of its call.
NUMBER = 8
#: So that Open MPI (4, 5) starts more ranks than there are cores, binds none to a core, does so as root, too, and (4)
#: does not wait a second for the ranks that it ends when one has died.
_SETTINGS = {
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "OMPI_MCA_odls_base_sigkill_timeout": "0",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}


class Crew(Executor):
    """Calls for an mpiexec of our own: for its rank 0, over a socket."""

    def __init__(self, mpiexec: str, slots: int, store: str, initializer: bytes) -> None:
        self.refusal: Exception | None = None  #: what `submit` raises
        self._mpiexec = mpiexec
        self._lock = threading.Lock()  # guards the refusal and what is sent
        self._numbers = count()
        self._out: dict[bytes, Future[Any]] = {}
        self._ours = ExitStack()
        self._ended = False
        with TemporaryDirectory(prefix="oche-mpi-") as folder, socket.socket(socket.AF_UNIX) as door:
            door.bind(address := f"{folder}/link")
            door.listen(1)
            size = str(slots + 1)
            command = [mpiexec, "-n", size, sys.executable, "-m", "oche.engines.mpi_crew", address, size]
            with open(os.devnull) as nothing:
                self._pid = spawn(command, (nothing.fileno(), 1, 2), _environment(slots, mpiexec, Path(folder)))
            try:
                self._meet(door, (slots, store, initializer))
            except (Broken, Disconnected) as error:
                self.refusal = error

    def _meet(self, door: socket.socket, begin: tuple[int, str, bytes]) -> None:
        self._await(door, START_LIMIT)
        self._socket = self._ours.enter_context(door.accept()[0])
        self._link = self._ours.enter_context(Connection(os.dup(self._socket.fileno())))
        try:
            self._link.send_bytes(pickle.dumps(begin))
            self._await(self._link, INITIALIZER_LIMIT if begin[-1] else START_LIMIT)
            failure = self._link.recv_bytes().decode()
        except (OSError, EOFError) as error:
            raise Disconnected(
                f"the ranks of {self._mpiexec} died before they were ready; they may have said why"
            ) from error
        if failure:
            raise Broken(f"the initializer failed in a worker:\n{failure}")
        listener = threading.Thread(target=self._listen, name="oche-mpi", daemon=True)
        listener.start()
        self._ours.callback(listener.join)

    def _await(self, what: socket.socket | Connection, seconds: float) -> None:
        """Until there is something to read."""
        end = time.monotonic() + seconds
        while not wait([what], LOOK):
            if self._gone():
                raise Disconnected(
                    f"{self._mpiexec} ended before its ranks were ready; it has said why. It must be of the same MPI "
                    "as mpi4py: name another one by connect('mpi:?mpiexec=/path/to/mpiexec')"
                )
            if time.monotonic() > end:
                raise Disconnected(f"the ranks of {self._mpiexec} were not ready after {seconds:g} s; try it by hand")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        frame = pickle.dumps((fn, args, kwargs))
        future = Future[Any]()
        future.set_running_or_notify_cancel()
        with self._lock:
            if self.refusal is not None:
                raise self.refusal
            number = next(self._numbers).to_bytes(NUMBER, "big")
            self._out[number] = future
            with suppress(OSError):  # the listener will see it, too
                self._link.send_bytes(number + frame)
        return future

    def _listen(self) -> None:
        with suppress(OSError, EOFError):
            while True:
                answer = self._link.recv_bytes()
                future = self._out.pop(answer[:NUMBER])
                try:
                    good, value = pickle.loads(answer[NUMBER:])
                except Exception as error:
                    good, value = False, error
                if good:
                    future.set_result(value)
                else:
                    future.set_exception(value)
        broken = BrokenExecutor("a process of mpiexec's has died, and MPI ends all of them then")
        with self._lock:
            self.refusal = self.refusal or broken
            left = list(self._out.values())
            self._out.clear()
        for future in left:
            future.set_exception(broken)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Drops what is out, and ends all ranks."""
        with self._lock:
            self.refusal = self.refusal or RuntimeError("cannot schedule new futures after shutdown")
        with suppress(AttributeError, OSError):  # it never was there, or is gone
            self._socket.shutdown(socket.SHUT_WR)
        end = time.monotonic() + GRACE + END
        while not self._gone() and time.monotonic() < end:
            time.sleep(LOOK)
        if not self._gone():
            os.killpg(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._ended = True
        self._ours.close()

    def _gone(self) -> bool:
        if not self._ended:
            try:
                self._ended = os.waitpid(self._pid, os.WNOHANG)[0] != 0
            except ChildProcessError:  # somebody else has heard of it
                self._ended = True
        return self._ended


def _environment(slots: int, mpiexec: str, folder: Path) -> dict[str, str]:
    """Of the ranks; `folder` lasts until they are ready."""
    environment = _SETTINGS | child_environment(slots)
    environment["PYTHONPATH"] = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    library = Path(f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}/libmpich.so.12")
    if Path(mpiexec).resolve().parent == Path("/usr/bin") and library.exists():
        # Debian calls the library of its MPICH otherwise than everybody else, mpi4py's wheel included.
        (folder / "libmpi.so.12").symlink_to(library)
        environment["LD_LIBRARY_PATH"] = f"{folder}{os.pathsep}{environment.get('LD_LIBRARY_PATH', '')}".rstrip(
            os.pathsep
        )
    return environment


def main(address: str, size: int) -> None:
    """One rank of so many."""
    threading.Thread(target=_end_with_mpiexec, name="oche-mpiexec", daemon=True).start()
    if "OMPI_COMM_WORLD_SIZE" in os.environ:  # else mpi4py may take another MPI than mpiexec's
        os.environ.setdefault("MPI4PY_MPIABI", "openmpi")
    from mpi4py import MPI
    from mpi4py.futures import MPICommExecutor

    world = MPI.COMM_WORLD
    if world.Get_size() != size:
        sys.exit(
            f"mpiexec started {size} processes, and mpi4py sees {world.Get_size()}: they are of different MPIs; "
            "name the mpiexec of mpi4py's: connect('mpi:?mpiexec=/path/to/mpiexec')"
        )
    try:
        link = None if world.Get_rank() else Client(address, "AF_UNIX")
        start = world.bcast(None if link is None else link.recv_bytes())
        failures = world.allgather("" if link is not None else _begin(start))
        if link is not None:
            link.send_bytes("".join(failures).encode())
        if any(failures):
            return
        with MPICommExecutor(world) as pool:
            if link is not None and not _serve(link, pool):
                world.Abort(1)
    except BaseException:  # the other ranks would wait for this one
        traceback.print_exc()
        world.Abort(1)


def _end_with_mpiexec() -> None:
    """Open MPI's ranks would go on by themselves, and nobody would hear of the next that dies. Linux."""
    if hasattr(os, "pidfd_open"):
        wait([os.pidfd_open(os.getppid())])
        os.kill(os.getpid(), signal.SIGKILL)


def _begin(start: bytes) -> str:
    """What a worker does first; returns why it cannot go on."""
    try:
        remote.begin(*pickle.loads(start))
    except BaseException:
        return traceback.format_exc()
    return ""


def _serve(link: Connection, pool: Any) -> bool:
    """Until the client is gone; returns whether all calls have ended."""
    sending = threading.Lock()
    out: set[Future[bytes]] = set()

    def answer(number: bytes, future: Future[bytes]) -> None:
        out.discard(future)
        error = future.exception()  # MPI's own
        with sending, suppress(OSError):  # else nobody listens any more
            link.send_bytes(number + (future.result() if error is None else pickle.dumps((False, error))))

    while True:
        try:
            frame = link.recv_bytes()
        except (EOFError, OSError):
            return not ended(tuple(out), GRACE).not_done
        future = pool.submit(_call, frame[NUMBER:])
        out.add(future)
        future.add_done_callback(partial(answer, frame[:NUMBER]))


def _call(frame: bytes) -> bytes:
    """In a worker: a call to its answer."""
    try:
        function, args, kwargs = pickle.loads(frame)
        return pickle.dumps((True, function(*args, **kwargs)))
    except BaseException as error:
        return pickle.dumps((False, error))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
