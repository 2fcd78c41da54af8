"""`pp:`: everything an executor must do, on a ppserver that runs; and workers that the engine starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import engine_chores
import numpy as np
import pytest
from exact import check_exact

import oche
from farms import until
from oche.errors import Broken, ConfigError, Crashed, Disconnected, TaskNotFound, Unsupported
from oche.servers.parallel_python import PPServer
from oche.testing import executor_calls as calls
from oche.testing.cluster_suite import ClusterSuite
from oche.testing.executor_rig import gone, lines, settled
from oche.testing.executor_suite import ExecutorSuite, Rig
from oche.testing.servers import free_port, missing

missing(package="ppft")
from oche.engines import parallel_python as engine  # noqa: E402

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture(scope="module")
def server() -> Iterator[PPServer]:
    with PPServer(2, environment=ENVIRONMENT) as server:
        yield server


class TestAPPServer(ExecutorSuite, ClusterSuite):
    @pytest.fixture
    def rig(self, server: PPServer) -> Rig:
        return Rig(
            open=lambda: oche.connect(server.url),
            traits=engine.ParallelPythonEngine.traits,
            script=f"import oche; executor = oche.connect({server.url!r})",
        )


@pytest.fixture(scope="module")
def ours() -> Iterator[oche.Cluster]:
    start = {"initializer": engine_chores.remember, "initargs": ("OCHE_TEST_MARK", "here")}
    with oche.connect("pp:", max_workers=2, **start) as cluster:  # type: ignore[arg-type]
        yield cluster


def test_the_exact_pi_the_books_factor_and_a_product(ours: oche.Cluster) -> None:
    check_exact(ours)


def test_a_call_that_runs_is_told_to_stop_or_interrupted(ours: oche.Cluster, tmp_path: Path) -> None:
    path, begin = tmp_path / "held", time.monotonic()
    held = [ours.submit(calls.hold, str(path)) for _ in range(2)]
    until(lambda: len(lines(path)) == 2, "both workers are busy")
    assert all(future.cancel() for future in held)
    assert isinstance(ours.submit(oche.task(timeout=0.2)(calls.spin), 30).exception(30), TimeoutError)
    assert ours.submit(calls.square, 5).result(30) == 25
    assert time.monotonic() - begin < 15


def test_workers_of_ours_share_memory(ours: oche.Cluster) -> None:
    shared = ours.share(np.arange(1000.0))
    assert list(ours.map(partial(calls.item, shared), range(0, 1000, 100))) == list(range(0, 1000, 100))


def test_what_a_call_prints_past_python_does_not_come_between(ours: oche.Cluster) -> None:
    assert ours.submit(os.write, 1, b"x" * 100_000).result(30) == 100_000
    assert ours.submit(calls.square, 5).result(30) == 25


def test_an_initializer_runs_in_each_process_also_in_its_successors(ours: oche.Cluster) -> None:
    for process in (calls.process_id, os.getppid):  # the one that computes, and ppft's own worker
        os.kill(ours.submit(process).result(30), signal.SIGKILL)
        assert set(ours.map(engine_chores.recall, ["OCHE_TEST_MARK"] * 50)) == {"here"}


def test_a_call_that_kills_its_process_harms_nobody(ours: oche.Cluster, tmp_path: Path) -> None:
    path = str(tmp_path / "ran")
    good = [ours.submit(engine_chores.lasting, path, i, 0.2) for i in range(4)]
    poison = [ours.submit(calls.die) for _ in range(2)]
    errors = settled(poison)
    assert [type(error) for error in errors] == [Crashed, Crashed]
    assert "attempt 3 of 3" in str(errors[0])
    assert [one.result(60) for one in good] == list(range(4))
    assert sorted(lines(Path(path))) == list(range(4))


def test_an_initializer_that_fails_is_told_at_once() -> None:
    with pytest.raises(Broken, match="no model here"):
        oche.connect("pp:", max_workers=2, initializer=engine_chores.refuse_to_start)


def test_a_cluster_of_ours_leaves_nothing(tmp_path: Path) -> None:
    path, before = tmp_path / "pid", {thread.name for thread in threading.enumerate()}
    variables = dict(os.environ)
    cluster = oche.connect("pp:", max_workers=1)
    worker = cluster.submit(os.getppid).result(30)
    cluster.submit(engine_chores.deaf, str(path), 600.0)
    until(lambda: path.exists() and path.read_text(), "it runs")
    begin = time.monotonic()
    cluster.shutdown(cancel_futures=True)
    assert time.monotonic() - begin < 15
    until(lambda: gone(int(path.read_text())) and gone(worker), "its processes are gone")
    until(lambda: {thread.name for thread in threading.enumerate()} <= before, "its threads are gone")
    assert os.environ == variables


def test_a_cluster_of_ours_ends_with_a_program_that_is_killed(tmp_path: Path) -> None:
    path, program = tmp_path / "pids", tmp_path / "program.py"
    program.write_text(  # without a guard: its workers do not import it
        "import os, oche\nfrom oche.testing import executor_calls as calls\n\n"
        "cluster = oche.connect('pp:', max_workers=1)\n"
        f"cluster.submit(calls.mark, {str(path)!r}, cluster.submit(os.getppid).result()).result()\n"
        f"cluster.submit(calls.hold, {str(path)!r}).result()\n"
    )
    running = subprocess.Popen([sys.executable, str(program)], env=ENVIRONMENT)
    try:
        until(lambda: len(lines(path)) == 2, "the worker is busy")
    finally:
        running.kill()
        running.wait(10)
    until(lambda: all(gone(pid) for pid in lines(path)), "the worker is gone")


# ppservers that die, or are not what they should be


@pytest.fixture
def second(server: PPServer) -> Iterator[PPServer]:
    with PPServer(1, secret=server.secret, environment=ENVIRONMENT) as second:
        yield second


@pytest.fixture
def both(server: PPServer, second: PPServer) -> Iterator[oche.Cluster]:
    with oche.connect(f"{server.url},127.0.0.1:{second.port}") as cluster:
        yield cluster


def test_calls_of_a_ppserver_that_dies_go_to_another(both: oche.Cluster, second: PPServer, tmp_path: Path) -> None:
    path = tmp_path / "ran"
    assert both.slots == 3
    futures = [both.submit(engine_chores.lasting, str(path), i, 0.2) for i in range(9)]
    until(lambda: len(lines(path)) >= 3, "all workers are busy")
    second.kill()
    assert [future.result(30) for future in futures] == list(range(9))


def test_a_ppserver_whose_worker_is_killed_is_ended(both: oche.Cluster, second: PPServer) -> None:
    """It would go on giving calls to the dead, and tell nobody."""
    with oche.connect(second.url) as alone:
        worker = alone.submit(os.getppid).result(30)
    held = [both.submit(time.sleep, 0.5) for _ in range(9)]
    os.kill(worker, signal.SIGKILL)
    until(lambda: gone(second.pid), "it is ended")
    assert settled(held) == [None] * 9


def test_a_ppserver_that_is_back_is_taken_again() -> None:
    with PPServer(1, environment=ENVIRONMENT) as server, oche.connect(server.url) as cluster:
        assert cluster.submit(calls.square, 3).result(30) == 9
        server.kill()
        future = cluster.submit(calls.square, 4)
        server.start()
        assert future.result(30) == 16


def test_without_any_ppserver_the_cluster_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "GONE", 1.0)
    with PPServer(1, environment=ENVIRONMENT) as server, oche.connect(server.url) as cluster:
        cluster.submit(calls.square, 3).result(30)
        server.kill()
        begin = time.monotonic()
        assert isinstance(cluster.submit(calls.square, 4).exception(30), Broken)
        assert time.monotonic() - begin < 10


def test_a_ppserver_without_oche_is_told_so_and_not_harmed(tmp_path: Path) -> None:
    (tmp_path / "oche.py").write_text("raise ImportError('no oche here')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with PPServer(1, environment=environment) as server, oche.connect(server.url) as cluster:
        for _ in range(2):
            with pytest.raises(TaskNotFound, match=r"no oche here.*install oche where"):
                cluster.submit(calls.square, 3).result(30)


def test_ppservers_announce_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    server = PPServer(1, environment=ENVIRONMENT)
    announced = ["-a", "-i", "0.0.0.0", "-b", "127.255.255.255"]
    monkeypatch.setattr(server, "command", lambda: [*PPServer.command(server), *announced])
    with server, oche.connect(f"pp://:{server.secret}@127.255.255.*:{server.port}") as cluster:
        assert cluster.submit(calls.square, 3).result(30) == 9
    with pytest.raises(Disconnected, match="none has announced itself"):
        oche.connect(f"pp://:secret@127.255.255.*:{server.port}")


def test_nobody_answers(server: PPServer) -> None:
    with pytest.raises(Disconnected, match=r"start it with `ppserver") as told:
        oche.connect(f"pp://:secret@127.0.0.1:{free_port()}")
    assert "secret@" not in str(told.value)
    with pytest.raises(Disconnected, match="another secret"):
        oche.connect(f"pp://:wrong@127.0.0.1:{server.port}")


def test_those_who_answer_are_enough(server: PPServer, caplog: pytest.LogCaptureFixture) -> None:
    with oche.connect(f"{server.url},127.0.0.1:{free_port()}") as cluster:
        assert cluster.slots == 2
    assert "going on without" in caplog.text


def test_a_secret_is_needed_for_other_machines() -> None:
    with pytest.raises(ConfigError, match=r"no secret.*pp://:SECRET@HOST:60000"):
        oche.connect("pp://host.example:60000")


def test_what_connect_cannot_honour(server: PPServer) -> None:
    with pytest.raises(Unsupported, match="ppserver -w N"):
        oche.connect(server.url, max_workers=3)
    with pytest.raises(ConfigError, match="max_workers is 0"):
        oche.connect("pp:", max_workers=0)


@pytest.mark.parametrize("url", ["pp:x", "pp://", "pp://host:port", "pp://:@host", "pp://:secret@host:1,"])
def test_urls_that_cannot_be_right(url: str) -> None:
    with pytest.raises(ConfigError, match=r"pp:"):
        oche.connect(url)
