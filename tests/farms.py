"""Whole farms for tests: a broker, workers as the real command, and clients."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil

import oche
from oche.queues.opening import open_queue
from oche.testing.servers import NSQD, Beanstalkd, Gearmand, RabbitMQ, Redis, Server, missing
from oche.wire.names import Farm as Names

HERE = Path(__file__).parent
#: Name of a farm that is given none.
OCHE = Names().name
#: Seconds in which anything that is under way must have come to its end.
BOUND = 60.0


def until(condition: Callable[[], Any], what: str, *, seconds: float = BOUND) -> Any:
    """Waits for the condition and returns its value; fails, saying what did not come."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)
    return value


def empty(url: str, prefix: str) -> None:
    """Takes away all jobs and signals of these names."""
    with open_queue(url) as queue:
        for name in queue.signals(prefix):
            queue.unsignal(name)
        for tube in queue.tubes(prefix):
            while queue.kick(tube, 1000):
                pass
            while got := queue.reserve_many([tube], 1000, 0.0):
                queue.delete_many(got)


class Farm:
    """One engine, its broker and its workers, all ended by `close`."""

    def __init__(
        self, engine: str, folder: Path, *, slots: int = 2, server: Server | None = None, name: str = OCHE
    ) -> None:
        """`server` is one that runs already, for many farms: it stays, and what this one leaves there is deleted."""
        self.engine, self.folder, self.slots = engine, folder, slots
        self.server = server
        self.workers: list[subprocess.Popen[bytes]] = []
        self._stack = ExitStack()
        if server is not None:
            self._stack.callback(empty, server.url, f"{name}.")
        elif engine == "beanstalkd":
            missing("beanstalkd", "greenstalk")
            (folder / "binlog").mkdir()
            self.server = Beanstalkd(binlog=folder / "binlog")
        elif engine == "redis":
            missing("redis-server", "redis")
            self.server = Redis(folder / "data")
        elif engine == "rabbitmq":
            missing("rabbitmq-server", "pika")
            self.server = RabbitMQ(folder / "data")
        elif engine == "gearman":
            missing("gearmand")
            self.server = Gearmand()
        elif engine == "nsq":
            missing("nsqd", "nsq")
            self.server = NSQD(folder / "data")
        if self.server is not None and server is None:
            self._stack.enter_context(self.server)
        self.url = (
            self.server.url
            if self.server is not None
            else {"local": "local:", "sqlite": f"sqlite:///{folder}/jobs.db"}[engine]
        )
        if name != OCHE and engine != "local":
            self.url += f"?farm={name}"

    def connect(self, **options: Any) -> oche.Cluster:
        """A client; workers are started with the first one."""
        if self.engine == "local":
            return oche.connect("local:", max_workers=self.slots, **options)
        if not self.workers:
            self.worker("--slots", str(self.slots))
        return oche.connect(self.url, **options)

    def worker(self, *arguments: str, folder: Path | None = None, **environment: str) -> subprocess.Popen[bytes]:
        """Starts `oche worker URL ...`, in the farm's folder if no other is given."""
        command = [sys.executable, "-m", "oche.cli.main", "worker", self.url, *arguments]
        # What this test run imports from its folders, workers can import too.
        path = [str(HERE), *(entry for entry in sys.path if entry.startswith(f"{HERE}{os.sep}"))]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), **environment}
        worker = subprocess.Popen(command, env=environment, cwd=folder or self.folder)
        self.workers.append(worker)
        return worker

    def children(self) -> list[psutil.Process]:
        """The processes that compute."""
        parents = [psutil.Process()] if self.engine == "local" else []
        for worker in self.workers:
            try:
                parents.append(psutil.Process(worker.pid))
            except psutil.NoSuchProcess:
                continue
        return [child for parent in parents for child in _crew(parent)]

    def close(self) -> None:
        """Ends the workers, and stops the broker."""
        self.end_workers()
        self._stack.close()

    def end_workers(self) -> None:
        """SIGTERM, and SIGKILL to those that do not go."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.terminate()
        for worker in self.workers:
            try:
                worker.wait(15)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait(5)
        self.workers.clear()


def _crew(parent: psutil.Process) -> Iterator[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        for child in parent.children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # just this one, or a zombie
                if "oche.worker.child" in " ".join(child.cmdline()):
                    yield child
