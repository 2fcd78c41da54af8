"""Clients, workers and stores killed while calls and results are in the store: all comes right, and nothing stays."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import errands
from farms import HERE, Farm, until
from oche.errors import StoreError
from oche.stores.opening import open_store
from oche.testing.servers import Memcached, Redis, missing

SEED = int(os.environ.get("OCHE_SEED", "0")) or random.SystemRandom().randrange(2**32)
print(f"OCHE_SEED={SEED}")
CHANCE = random.Random(SEED)

#: Large arguments, alone and beside each other, a large function, and results as large.
PROGRAM = """
import functools, sys
import errands, oche
url, store, log, out, *run = sys.argv[1:]
texts = [str(i) * 25_000 for i in range(100, 112)]
table = "0123456789" * 8_000
with oche.connect(url, store=store, run=run[0] if run else None) as cluster:
    submitted = [cluster.submit(errands.log_large, log, i, text) for i, text in enumerate(texts)]
    mapped = cluster.map(functools.partial(errands.log_large, log, text=texts[0]), range(100, 120))
    looked = cluster.map(lambda i: table[i] * 70_000, range(10))
    right = [f.result() for f in submitted] == [text + "!" for text in texts]
    right = right and list(mapped) == [texts[0] + "!"] * 20 and list(looked) == [str(i) * 70_000 for i in range(10)]
with open(out, "w") as file:
    file.write(str(right))
"""


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCHE_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    (tmp_path / "farm").mkdir()
    farm = Farm("beanstalkd", tmp_path / "farm")
    try:
        yield farm
    finally:
        farm.close()


@pytest.fixture(params=["files", "redis", "memcached"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "files":
        (tmp_path / "values").mkdir()
        yield f"files://{tmp_path}/values"
    elif request.param == "redis":
        missing("redis-server", "redis")
        with Redis() as server:
            yield server.url
    else:
        missing("memcached", "pymemcache")
        with Memcached() as server:
            yield server.url


def start(farm: Farm, store: str, out: Path, *run: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PROGRAM, farm.url, store, str(farm.folder / "log"), str(out), *run]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(HERE)})


def ready(farm: Farm) -> None:
    with farm.connect() as cluster:
        assert cluster.submit(abs, -1).result(30) == 1


def ran(farm: Farm) -> Counter[str]:
    log = farm.folder / "log"
    return Counter(log.read_text().split() if log.exists() else [])


def test_a_killed_client_resumes(farm: Farm, store: str, tmp_path: Path) -> None:
    ready(farm)
    out, lives = tmp_path / "out", 0
    for _ in range(3):
        seen = sum(ran(farm).values())
        client = start(farm, store, out, "night")
        with contextlib.suppress(AssertionError):
            until(lambda seen=seen, client=client: sum(ran(farm).values()) > seen or client.poll() is not None, "work")
        try:
            client.wait(CHANCE.uniform(0.0, 0.3) if lives else 0.0)
            break
        except subprocess.TimeoutExpired:
            client.kill()
            client.wait()
            lives += 1
    else:
        assert start(farm, store, out, "night").wait(60) == 0
    assert lives > 0
    assert out.read_text() == "True"


def test_results_that_came_while_nobody_was_there_are_kept(farm: Farm, store: str, tmp_path: Path) -> None:
    """The arguments went with the client; what they came to did not."""
    ready(farm)
    out = tmp_path / "out"
    client = start(farm, store, out, "night")
    until(lambda: ran(farm), "work has begun")
    client.send_signal(signal.SIGSTOP)
    with farm.connect() as witness:
        until(lambda: witness._desk._post.queue.stats("oche.work").ready == 0, "all is worked off")
        done = ran(farm)
    client.kill()
    client.wait()
    assert start(farm, store, out, "night").wait(60) == 0
    assert out.read_text() == "True"
    again = [name for name, times in (ran(farm) - done).items() if name in done]
    assert len(again) <= farm.slots  # no more than what was being written when it was killed


def test_a_killed_client_leaves_nothing(farm: Farm, tmp_path: Path) -> None:
    folder = tmp_path / "values"
    folder.mkdir()
    ready(farm)
    client = start(farm, f"files://{folder}", tmp_path / "out")
    until(lambda: ran(farm) and list(folder.glob("oche-*/*")), "work has begun")
    client.kill()
    client.wait()
    open_store(f"files://{folder}").close()
    homes = os.listdir(folder)
    assert len(homes) <= 1  # the worker's, with what nobody accepted
    farm.workers[0].terminate()
    farm.workers[0].wait(30)
    assert os.listdir(folder) == []


def test_what_a_killed_client_left_on_a_server_has_an_end(farm: Farm, tmp_path: Path) -> None:
    missing("redis-server", "redis")
    import redis

    ready(farm)
    with Redis() as server, redis.Redis(port=server.port) as looker:
        client = start(farm, server.url, tmp_path / "out")
        until(lambda: ran(farm) and looker.keys("oche:value:*"), "work has begun")
        client.kill()
        client.wait()
        until(lambda: farm_idle(farm), "all is worked off")
        assert all(0 < looker.ttl(key) <= 600 for key in looker.keys("oche:value:*"))


def farm_idle(farm: Farm) -> bool:
    from oche.queues.opening import open_queue

    with open_queue(farm.url) as queue:
        stats = queue.stats("oche.work")
        return stats.ready == stats.reserved == 0


def test_workers_are_killed(farm: Farm, store: str, tmp_path: Path) -> None:
    """Children, with arguments in their hands, and whole workers, with results that nobody has accepted."""
    ready(farm)
    farm.worker("--slots", "1")
    out = tmp_path / "out"
    client = start(farm, store, out)
    for number in range(4):
        seen = sum(ran(farm).values())
        until(lambda seen=seen: sum(ran(farm).values()) > seen or client.poll() is not None, "work goes on")
        victims = [worker for worker in farm.workers if worker.poll() is None]
        if number == 2:
            victims[0].kill()
            farm.worker("--slots", "2")
        elif children := farm.children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(CHANCE.choice(children).pid, signal.SIGKILL)
    assert client.wait(60) == 0
    assert out.read_text() == "True"


def test_the_store_is_killed_and_begins_anew(farm: Farm, tmp_path: Path) -> None:
    """What was out is sent once more; what was being put meanwhile fails by the store's name."""
    missing("redis-server", "redis")
    import redis

    with Redis() as server, farm.connect(store=server.url) as cluster:
        texts = [str(i) * 40_000 for i in range(100, 130)]
        gate = tmp_path / "gate"
        waits = [cluster.submit(errands.wait_for, str(gate)) for _ in range(farm.slots)]
        futures = [cluster.submit(errands.log_large, str(tmp_path / "log"), i, t) for i, t in enumerate(texts)]
        with redis.Redis(port=server.port) as looker:
            until(lambda: looker.keys("oche:value:*"), "an argument is in the store")
        server.kill()
        server.start()
        gate.touch()
        assert [wait.result(60) for wait in waits] == [None] * len(waits)
        errors = [future.exception(60) for future in futures]
        assert all(e is None or (isinstance(e, StoreError) and "Redis at" in str(e)) for e in errors)
        right = [(future.result(), text + "!") for future, e, text in zip(futures, errors, texts, strict=True) if not e]
        assert right
        assert all(got == wanted for got, wanted in right)
