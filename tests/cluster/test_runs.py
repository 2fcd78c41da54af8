"""Named runs: the client dies at any point, the same program is started again, and nothing is lost or done twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import oche
from farms import HERE, Farm, until
from oche.cluster.journal import forget, runs
from oche.errors import ConfigError, JournalError
from oche.queues.opening import open_queue
from oche.wire.names import Farm as Names

WORK = Names().work
PROGRAM = """
import functools, json, operator, sys
import errands, oche
url, run, log, out = sys.argv[1:]
with oche.connect(url, run=run) as cluster:
    submitted = [cluster.submit(errands.log_run, log, i, 0.01) for i in range(60)]
    mapped = list(cluster.map(functools.partial(errands.log_run, log, seconds=0.002), range(1000, 1300)))
    total = cluster.reduce(errands.slow_span_sum, range(2000), operator.add)
    answer = [[f.result() for f in submitted], mapped, total]
with open(out, "w") as file:
    json.dump(answer, file)
"""
ANSWER = [[i * i for i in range(60)], [i * i for i in range(1000, 1300)], sum(range(2000))]


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCHE_STATE_DIR", str(tmp_path / "state"))


def start(farm: Farm, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PROGRAM, farm.url, "night", str(out.with_name("log")), str(out)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(HERE)})


def ready(farm: Farm) -> None:
    """Workers are there, so that the time to the kill is spent on work."""
    with farm.connect() as cluster:
        assert cluster.submit(abs, -1).result(30) == 1


@pytest.mark.parametrize("farm", ["local", "sqlite", "beanstalkd"], indirect=True)
def test_a_killed_client_resumes(farm: Farm, tmp_path: Path) -> None:
    seed = int(os.environ.get("OCHE_SEED", random.randrange(2**32)))
    print(f"seed {seed}")
    rng = random.Random(seed)
    ready(farm)
    out = tmp_path / "out.json"
    kills = 0
    for _ in range(8):
        client = start(farm, out)
        try:
            client.wait(rng.uniform(0.3, 1.2) if kills else 0.3)
            break
        except subprocess.TimeoutExpired:
            client.kill()
            client.wait()
            kills += 1
    else:
        assert start(farm, out).wait(60) == 0
    assert kills > 0
    assert json.loads(out.read_text()) == ANSWER


def test_what_was_finished_is_not_run_again(farm: Farm, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    ready(farm)
    assert start(farm, out).wait(60) == 0
    first = (tmp_path / "log").read_text()
    out.unlink()
    assert start(farm, out).wait(60) == 0
    assert json.loads(out.read_text()) == ANSWER
    assert (tmp_path / "log").read_text() == first
    assert max(Counter(first.split()).values()) == 1
    assert [(run.name, run.in_use, run.pieces == run.finished) for run in runs()] == [("night", False, True)]


def test_outcomes_that_came_while_nobody_was_there_are_kept(farm: Farm, tmp_path: Path) -> None:
    if farm.engine == "local":
        pytest.skip("with the client goes the whole cluster")
    ready(farm)
    with open_queue(farm.url) as queue:
        until(lambda: not queue.stats(WORK).ready + queue.stats(WORK).reserved, "nothing is left of others")
    code = "import sys, os, signal, time, errands, oche\nfrom oche.queues.opening import open_queue\n" + (
        "c = oche.connect(sys.argv[1], run='night')\n"
        "fs = [c.submit(errands.log_and_wait, sys.argv[2], i, sys.argv[3]) for i in range(4)]\n"
        "q = open_queue(sys.argv[1])\n"
        "while (s := q.stats('oche.work')).ready + s.reserved < 4: time.sleep(0.01)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    log, gate = tmp_path / "log", tmp_path / "gate"
    env = {**os.environ, "PYTHONPATH": str(HERE)}
    client = subprocess.run([sys.executable, "-c", code, farm.url, str(log), str(gate)], env=env, check=False)
    assert client.returncode == -signal.SIGKILL
    gate.touch()
    until(lambda: log.exists() and len(log.read_text().split()) == 4, "the workers run what was put")
    import errands

    with oche.connect(farm.url, run="night") as cluster:
        again = [cluster.submit(errands.log_and_wait, str(log), i, str(gate)) for i in range(4)]
        assert [future.result(30) for future in again] == [0, 1, 4, 9]
    assert sorted(log.read_text().split()) == ["0", "1", "2", "3"]


def test_a_failed_call_runs_again_when_resumed(farm: Farm, tmp_path: Path) -> None:
    flag = tmp_path / "flag"

    def fails_once(path: str) -> str:
        import os

        if not os.path.exists(path):
            open(path, "w").close()
            raise ValueError("the first time")
        return "fine"

    with farm.connect(run="night") as cluster, pytest.raises(ValueError, match="the first time"):
        cluster.submit(fails_once, str(flag)).result(30)
    with farm.connect(run="night") as cluster:
        assert cluster.submit(fails_once, str(flag)).result(30) == "fine"


def test_a_changed_program_gets_new_answers(farm: Farm) -> None:
    import errands

    with farm.connect(run="night") as cluster:
        assert list(cluster.map(errands.square, range(100))) == [i * i for i in range(100)]
    with farm.connect(run="night") as cluster:
        assert list(cluster.map(errands.square, range(5, 105))) == [i * i for i in range(5, 105)]
        assert cluster.submit(errands.square, 3).result(30) == 9


def test_the_same_call_twice_is_two_calls(farm: Farm, tmp_path: Path) -> None:
    import errands

    log = tmp_path / "log"
    for _ in range(2):
        with farm.connect(run="night") as cluster:
            twice = [cluster.submit(errands.log_run, str(log), 7) for _ in range(2)]
            assert [future.result(30) for future in twice] == [49, 49]
    assert log.read_text().split() == ["7", "7"]


def test_a_run_is_used_by_one_process_at_a_time() -> None:
    with (
        oche.connect("local:", max_workers=1, run="night"),
        pytest.raises(JournalError, match="in use by another process"),
    ):
        oche.connect("local:", max_workers=1, run="night")


def test_names_and_forgetting() -> None:
    with pytest.raises(ConfigError, match="underscore"):
        oche.connect("local:", run="_x")
    with pytest.raises(ConfigError, match="cannot be used"):
        oche.connect("local:", run="a b")
    with oche.connect("local:", max_workers=1, run="a/b") as cluster:
        assert cluster.submit(abs, -3).result(30) == 3
        with pytest.raises(JournalError, match="in use"):
            forget("a/b")
    assert forget("a/b")
    assert not forget("a/b")
    assert runs() == []
