"""A worker as a program: signals end it in order, and its death leaves nobody behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import worker_chores as chores
from worker_bench import HERE, Bench, alive, eventually

from oche.queues.sqlite import SQLiteQueue

PROGRAM = """
import sys, logging
from oche.queues.sqlite import SQLiteQueue
from oche.wire.names import Farm
from oche.wire.signing import Signer
from oche.worker.daemon import serve
from oche.worker.node import Worker, WorkerOptions
logging.basicConfig(level=logging.INFO)
url, key, here = sys.argv[1:]
options = WorkerOptions(slots=2, farm=Farm(), path=(here,), grace=20.0)
with SQLiteQueue.open(url) as queue:
    sys.exit(serve(Worker(queue, Signer(bytes.fromhex(key)), options)))
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[tuple[Bench, subprocess.Popen[bytes]]]:
    """A bench without a worker of its own, and a worker as a process."""
    url = f"sqlite:///{tmp_path}/queue.db"
    key = os.urandom(32)
    from oche.wire.signing import Signer

    with Bench(SQLiteQueue.open(url), signer=Signer(key), start=False) as bench:
        command = [sys.executable, "-c", PROGRAM, url, key.hex(), HERE]
        process = subprocess.Popen(command, start_new_session=True)
        try:
            yield bench, process
        finally:
            process.kill()
            process.wait()


def children(bench: Bench) -> set[int]:
    """The process ids of both children."""
    found: set[int] = set()
    jobs = []
    while len(found) < 2:
        jobs = [bench.job(chores.whoami, [(i,)]) for i in range(4)]
        for job in jobs:
            bench.put(job)
        found |= {bench.collect(job)[0] for job in jobs}
    return found


def test_sigkill_of_the_parent_ends_the_children_even_in_c_code(
    tmp_path: Path, node: tuple[Bench, subprocess.Popen[bytes]]
) -> None:
    bench, process = node
    path = tmp_path / "ran"
    pids = children(bench)
    bench.put(bench.job(chores.hold_the_gil_marked, [(str(path), 60.0)]))
    eventually(path.exists)
    began = time.monotonic()
    process.kill()
    eventually(lambda: not any(alive(pid) for pid in pids))
    assert time.monotonic() - began < 3


def test_sigterm_lets_the_running_job_end(tmp_path: Path, node: tuple[Bench, subprocess.Popen[bytes]]) -> None:
    bench, process = node
    path = tmp_path / "ran"
    pids = children(bench)
    job = bench.job(chores.poll_the_byte, [(str(path), 1.0)])
    bench.put(job)
    eventually(path.exists)
    process.send_signal(signal.SIGTERM)
    assert bench.collect(job) == ["not stopped"]
    assert process.wait(10) == 0
    assert not any(alive(pid) for pid in pids)


def test_a_second_signal_hands_back_at_once(tmp_path: Path, node: tuple[Bench, subprocess.Popen[bytes]]) -> None:
    bench, process = node
    path = tmp_path / "ran"
    children(bench)
    bench.put(bench.job(chores.stubborn, [(str(path), 60.0)]))
    eventually(path.exists)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.4)
    assert process.poll() is None  # it drains
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    assert time.monotonic() - began < 8
    delivery = bench.queue.reserve([bench.farm.work], 5.0)
    assert delivery is not None
    assert bench.queue.attempts(delivery) == 1


def test_sigterm_to_the_whole_group_counts_nobody_s_attempt(
    tmp_path: Path, node: tuple[Bench, subprocess.Popen[bytes]]
) -> None:
    """As a service manager does it that signals parent and children alike."""
    bench, process = node
    path = tmp_path / "ran"
    pids = children(bench)
    bench.put(bench.job(chores.nap_in_small, [(str(path), 60.0)]))
    eventually(path.exists)
    for pid in (process.pid, *pids):
        os.kill(pid, signal.SIGTERM)
    assert process.wait(15) == 0
    assert path.read_text().split()[:2] == ["begun", "finally"]
    delivery = bench.queue.reserve([bench.farm.work], 5.0)
    assert delivery is not None
    assert bench.queue.attempts(delivery) == 1


def test_an_idle_worker_is_small(node: tuple[Bench, subprocess.Popen[bytes]]) -> None:
    bench, process = node
    children(bench)
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    resident = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    assert resident < 40 * 1024
