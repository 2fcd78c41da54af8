"""Clients killed at every step: a named run goes on where it was, an unnamed one leaves nothing behind."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from math import isqrt
from pathlib import Path
from typing import Any

import mischief
import psutil
import pytest

import errands
import oche
from farms import HERE, Farm, until
from oche.queues.opening import open_queue
from oche.wire.names import Farm as Names

NAMES = Names()
BROKERS = ["sqlite", "beanstalkd", "redis", "rabbitmq", "gearman", "nsq"]
#: Seconds in which a program must end that nobody kills.
BOUND = 60.0

#: Runs to its end, or kills itself before or after the k-th of these steps.
PROGRAM = """
import functools, itertools, json, operator, os, signal, sys
import errands, oche
from oche.cluster import backup, desk, journal
url, log, out, when, step, k = sys.argv[1:]
backup.PATIENCE = 60.0  # no copies of what is only slow: what runs is counted
calls = itertools.count(1)

def deadly(verb):
    def wrapped(self, *args, **kwargs):
        last = next(calls) == int(k)
        if last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = verb(self, *args, **kwargs)
        if last and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    return wrapped

owner = desk.Desk if step == "_put" else journal.Journal
setattr(owner, step, deadly(getattr(owner, step)))
options = {"max_workers": 1} if url == "local:" else {}
with oche.connect(url, run="night", **options) as cluster:
    submitted = [cluster.submit(errands.log_run, log, i) for i in range(40)]
    mapped = list(cluster.map(functools.partial(errands.log_run, log), range(1000, 1060), chunksize=2))
    total = cluster.reduce(errands.span_sum, range(10**7, 10**7 + 10**6), operator.add)
    answer = [[f.result() for f in submitted], mapped, total]
with open(out, "w") as file:
    json.dump(answer, file)
"""
ANSWER = [[i * i for i in range(40)], [i * i for i in range(1000, 1060)], sum(range(10**7, 10**7 + 10**6))]
#: Between row and put; between put and whatever comes next; between outcome and row; between row and delete.
STEPS = [("before", "_put"), ("after", "_put"), ("before", "finish"), ("after", "finish")]


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCHE_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))


def start(program: str, *arguments: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(HERE)})


def ready(farm: Farm) -> None:
    """Workers are there, so that the time of a client is spent on work."""
    with farm.connect() as cluster:
        assert cluster.submit(abs, -1).result(30) == 1


def finished(state: Path) -> set[int]:
    """The items whose value is in the journal."""
    path = state / "runs" / "night" / "journal.db"
    if not path.exists():
        return set()
    with closing(sqlite3.connect(path)) as db:
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            return set()
        rows = db.execute("SELECT value FROM piece WHERE value IS NOT NULL").fetchall()
    values = [value for (row,) in rows for value in json.loads(row)]
    return {isqrt(value) for value in values if isqrt(value) ** 2 == value and value <= 1060**2}


def ran(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def test_killed_at_each_step_and_resumed(farm: Farm, tmp_path: Path, chance: random.Random) -> None:
    """Its first life ends at the first step of one kind, its second at the second of another ... until it lives."""
    if farm.engine != "local":
        ready(farm)
    log, out = tmp_path / "log", tmp_path / "out.json"
    done: list[tuple[set[int], Counter[int]]] = []
    for life, step in enumerate(chance.sample(STEPS, len(STEPS)), 1):
        client = start(PROGRAM, farm.url, log, out, *step, life)
        if client.wait(BOUND) == 0:
            break
        assert client.returncode == -signal.SIGKILL
        items = finished(tmp_path / "state")
        done.append((items, Counter(ran(log))))
    else:
        assert start(PROGRAM, farm.url, log, out, *step, 0).wait(BOUND) == 0
    assert len(done) >= 3
    assert json.loads(out.read_text()) == ANSWER
    runs = Counter(ran(log))
    assert set(runs) == {*range(40), *range(1000, 1060)}
    for items, before in done:
        for item in items:
            assert runs[item] == before[item], f"item {item} was finished, and ran again"


def test_resumed_after_its_broker_lost_everything(make_farm: Callable[..., Farm], tmp_path: Path) -> None:
    farm = make_farm("beanstalkd")
    server = farm.server
    assert server is not None
    server.kill()
    server.binlog = None
    server.start()
    log, out = tmp_path / "log", tmp_path / "out.json"
    # No workers: what it has put lies there when it dies.
    client = start(PROGRAM, farm.url, log, out, "after", "_put", 2)
    assert client.wait(BOUND) == -signal.SIGKILL
    with open_queue(farm.url) as queue:
        assert queue.stats(NAMES.work).ready > 1
    server.kill()
    server.start()
    # Jobs of somebody else are there before the client: their number must not pass for that of its own.
    with oche.connect(farm.url) as other, open_queue(farm.url) as queue:
        others = [other.submit(mischief.steady, i) for i in range(30)]
        until(lambda: queue.stats(NAMES.work).ready > 3, "jobs of the other client")
        farm.worker("--slots", "2")
        assert start(PROGRAM, farm.url, log, out, "never", "_put", 0).wait(BOUND) == 0
        assert [future.result(BOUND) for future in others] == [i * i for i in range(30)]
    assert json.loads(out.read_text()) == ANSWER
    assert Counter(ran(log)) == Counter([*range(40), *range(1000, 1060)])


UNNAMED = """
import sys, errands, oche
options = {"max_workers": 2} if sys.argv[1] == "local:" else {}
cluster = oche.connect(sys.argv[1], **options)
futures = [cluster.submit(errands.slow_square, i, 0.2) for i in range(int(sys.argv[2]))]
futures += [cluster.submit(errands.spin, 2.0) for _ in range(2)]
print(futures[0].result(), flush=True)
futures[-1].cancel()  # raises a signal
print("cancelled", flush=True)
futures[1].result()
sys.stdin.read()
"""


def shared_memory() -> set[str]:
    return {name for name in os.listdir("/dev/shm") if "oche" in name} if os.path.isdir("/dev/shm") else set()


Doomed = subprocess.Popen[str]


@pytest.fixture
def doomed() -> Iterator[Callable[[str, int], Doomed]]:
    """Unnamed clients, by doomed(url, calls), each amid its work; none survives the test."""
    clients: list[Doomed] = []

    def make(url: str, calls: int) -> Doomed:
        command = [sys.executable, "-c", UNNAMED, url, str(calls)]
        environment = {**os.environ, "PYTHONPATH": str(HERE)}
        pipe = subprocess.PIPE
        client = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)
        clients.append(client)
        assert client.stdout is not None
        assert client.stdout.readline() == "0\n"
        assert client.stdout.readline() == "cancelled\n"
        return client

    yield make
    for client in clients:
        client.kill()
        client.wait(10)
        for end in (client.stdin, client.stdout):
            assert end is not None
            end.close()


def gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_the_children_of_a_killed_local_client_die_with_it(
    doomed: Callable[[str, int], Doomed], tmp_path: Path
) -> None:
    before = shared_memory()
    client = doomed("local:", 4)
    children = psutil.Process(client.pid).children(recursive=True)
    assert len(children) >= 2
    client.kill()
    until(lambda: all(map(gone, children)), "no orphans", seconds=5)
    assert shared_memory() == before
    assert list((tmp_path / "tmp").iterdir()) == []


#: A worker that sweeps as soon as it may.
SWEEPER = """
import sys
from oche.worker import slot, sweep
sweep.EVERY = sweep.APART = 0.2
sweep.SERVED = 0.5
slot.IDLE_WAIT = 0.2
from oche.cli.main import main
sys.exit(main())
"""


@pytest.mark.parametrize("farm", BROKERS, indirect=True)
def test_what_a_killed_unnamed_client_leaves_is_swept(
    farm: Farm, doomed: Callable[[str, int], Doomed], tmp_path: Path
) -> None:
    before = shared_memory()
    farm.workers.append(start(SWEEPER, "worker", farm.url, "--slots", "3"))
    client = doomed(farm.url, 4)
    with open_queue(farm.url) as queue, oche.connect(farm.url) as bystander:
        mine = NAMES.reply(bystander.run)
        until(lambda: mine in queue.tubes(mine), "the bystander watches its tube")
        assert len(queue.tubes(NAMES.reply_prefix)) == 2
        assert queue.signals(NAMES.stop_prefix)
        client.kill()
        client.wait(10)
        work = NAMES.work
        until(lambda: queue.stats(work).ready + queue.stats(work).reserved == 0, "the workers end what it had put")
        until(lambda: queue.tubes(NAMES.reply_prefix) == [mine], "its reply tube is swept")
        until(lambda: not queue.signals(NAMES.stop_prefix), "its signals are swept")
        # The bystander lives, and its tube with it.
        assert bystander.submit(errands.square, 5).result(BOUND) == 25
    farm.close()
    assert shared_memory() == before
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("farm", BROKERS, indirect=True)
def test_a_killed_client_does_not_touch_the_other(
    farm: Farm, doomed: Callable[[str, int], Doomed], chance: random.Random
) -> None:
    with farm.connect() as cluster:
        assert cluster.submit(abs, -1).result(BOUND) == 1
        victims = [doomed(farm.url, 10)]
        squares = cluster.map(errands.slow_square, range(80))
        got = [next(squares) for _ in range(20)]
        for victim in victims:
            threading.Event().wait(chance.uniform(0.0, 0.3))
            victim.kill()
        got += squares
        assert got == [i * i for i in range(80)]
