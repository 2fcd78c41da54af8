"""`dask:`: everything an executor must do, on a scheduler that runs; and one that the engine starts."""

from __future__ import annotations

import os
import signal
import socket
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
from oche.errors import Broken, ConfigError, Crashed, Disconnected, Unsupported
from oche.servers.dask import DaskCluster
from oche.testing import executor_calls as calls
from oche.testing.cluster_suite import ClusterSuite
from oche.testing.executor_rig import gone, lines, settled
from oche.testing.executor_suite import ExecutorSuite, Rig
from oche.testing.servers import free_port, missing

missing(package="distributed")
from oche.engines import dask as engine  # noqa: E402

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with DaskCluster(tmp_path_factory.mktemp("dask"), 2, environment=ENVIRONMENT) as cluster:
        yield cluster


class TestDask(ExecutorSuite, ClusterSuite):
    @pytest.fixture
    def rig(self, dask: DaskCluster) -> Rig:
        def opened() -> oche.Cluster:
            until(dask.answers, "a worker that a test has killed is back")
            return oche.connect(dask.url)

        return Rig(
            open=opened,
            traits=engine.DaskEngine.traits,
            script=f"import oche; executor = oche.connect({dask.url!r})",
        )

    def test_a_large_argument_brings_no_warning(self, executor: oche.Cluster) -> None:
        assert executor.submit(len, bytes(12_000_000)).result(30) == 12_000_000


@pytest.fixture(scope="module")
def ours() -> Iterator[oche.Cluster]:
    start = {"initializer": engine_chores.remember, "initargs": ("OCHE_TEST_MARK", "here")}
    with oche.connect("dask:", max_workers=2, **start) as cluster:  # type: ignore[arg-type]
        yield cluster


def test_the_exact_pi_the_books_factor_and_a_product(ours: oche.Cluster) -> None:
    check_exact(ours)


def test_a_call_that_runs_in_a_cluster_of_ours_is_told_to_stop(ours: oche.Cluster, tmp_path: Path) -> None:
    path = tmp_path / "held"
    held = [ours.submit(calls.hold, str(path)) for _ in range(2)]
    until(lambda: len(lines(path)) == 2, "both workers are busy")
    assert len(set(lines(path))) == 2
    begin = time.monotonic()
    assert all(future.cancel() for future in held)
    assert ours.submit(calls.square, 5).result(30) == 25
    assert time.monotonic() - begin < 15


def test_workers_of_ours_share_memory_and_have_it_fast(ours: oche.Cluster) -> None:
    shared = ours.share(np.arange(1000.0))
    assert list(ours.map(partial(calls.item, shared), range(0, 1000, 100))) == list(range(0, 1000, 100))
    assert ours.submit(engine_chores.recall, "MALLOC_TRIM_THRESHOLD_").result(30) is None


def test_an_initializer_runs_in_each_worker_also_in_its_successor(ours: oche.Cluster) -> None:
    assert set(ours.map(engine_chores.recall, ["OCHE_TEST_MARK"] * 50)) == {"here"}
    os.kill(ours.submit(calls.process_id).result(30), signal.SIGKILL)
    assert set(ours.map(engine_chores.recall, ["OCHE_TEST_MARK"] * 50)) == {"here"}


def test_a_call_that_kills_its_workers_fails_alone(ours: oche.Cluster, tmp_path: Path) -> None:
    path = str(tmp_path / "ran")
    good = [ours.submit(engine_chores.lasting, path, i, 0.3) for i in range(6)]
    poison = ours.submit(calls.die)
    assert [type(error) for error in settled([poison])] == [Crashed]
    assert "attempt 3 of 3" in str(poison.exception())
    assert [one.result(60) for one in good] == list(range(6))


def test_an_initializer_that_fails_is_told_at_once() -> None:
    with pytest.raises(Broken, match="no model here"):
        oche.connect("dask:", max_workers=1, initializer=engine_chores.refuse_to_start)


def test_a_cluster_of_ours_leaves_nothing(tmp_path: Path) -> None:
    path, before = tmp_path / "pid", {thread.name for thread in threading.enumerate()}
    cluster = oche.connect("dask:", max_workers=1)
    cluster.submit(engine_chores.deaf, str(path), 600.0)
    until(lambda: path.exists() and path.read_text(), "it runs")
    begin = time.monotonic()
    cluster.shutdown(cancel_futures=True)
    assert time.monotonic() - begin < 15
    until(lambda: gone(int(path.read_text())), "its worker is gone")
    until(lambda: {thread.name for thread in threading.enumerate()} <= before, "its threads are gone")


def test_a_cluster_of_ours_ends_with_a_program_that_is_killed(tmp_path: Path) -> None:
    path, program = tmp_path / "pids", tmp_path / "program.py"
    program.write_text(  # without a guard: its workers do not import it
        "import oche\nfrom oche.testing import executor_calls as calls\n\n"
        f"oche.connect('dask:', max_workers=1).submit(calls.hold, {str(path)!r}).result()\n"
    )
    running = subprocess.Popen([sys.executable, str(program)], env={**ENVIRONMENT, "TMPDIR": str(tmp_path)})
    try:
        until(lambda: lines(path), "the worker is busy")
    finally:
        running.kill()
        running.wait(10)
    until(lambda: gone(lines(path)[0]), "the worker is gone")
    until(lambda: not list(tmp_path.glob("oche-*")), "all others are gone, and what they wrote")


def test_a_scheduler_that_is_lost_is_waited_for_and_then_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CONNECT", 30.0)
    path = tmp_path / "held"
    with (
        DaskCluster(tmp_path / "dask", 1, environment=ENVIRONMENT) as scheduler,
        oche.connect(scheduler.url) as cluster,
    ):
        held = cluster.submit(calls.hold, str(path))
        until(lambda: lines(path), "it runs")
        scheduler.kill()
        scheduler.start()
        until(lambda: len(lines(path)) == 2, "it runs again")
        Path(f"{path}.go").touch()
        assert held.result(30) == "let go"
        monkeypatch.setattr(engine, "CONNECT", 0.5)
        scheduler.kill()
        begin = time.monotonic()
        with pytest.raises(Broken, match="dask worker"):
            cluster.submit(calls.square, 5).result(30)
        assert time.monotonic() - begin < 15


def test_workers_that_are_all_gone_are_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "GONE", 0.5)
    with DaskCluster(tmp_path / "dask", 0, environment=ENVIRONMENT) as scheduler:
        address = scheduler.url.replace("dask", "tcp")
        monkeypatch.setattr(engine, "CONNECT", 1.0)
        with pytest.raises(Disconnected, match=f"no worker.*dask worker {address}"):
            oche.connect(scheduler.url)
        monkeypatch.setattr(engine, "CONNECT", 30.0)
        command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--no-dashboard"]
        worker = subprocess.Popen(command, env=ENVIRONMENT, cwd=tmp_path, stderr=subprocess.DEVNULL)
        try:
            with oche.connect(scheduler.url) as cluster:
                held = cluster.submit(calls.hold, str(tmp_path / "held"))
                until(lambda: lines(tmp_path / "held"), "it runs")
                monkeypatch.setattr(engine, "CONNECT", 1.0)
                worker.kill()
                begin = time.monotonic()
                assert isinstance(held.exception(30), Broken)
                assert time.monotonic() - begin < 15
        finally:
            worker.kill()
            worker.wait(10)


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CONNECT", 0.3)
    with pytest.raises(Disconnected, match="start them with `dask scheduler`"):
        oche.connect(f"dask://127.0.0.1:{free_port()}")
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Disconnected):
        oche.connect(f"dask://127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.parametrize("url", ["dask://", "dask://host/path", "dask://host:99999", "dask:host", "dask://host?x=1"])
def test_urls_that_cannot_be_right(url: str) -> None:
    with pytest.raises(ConfigError, match=url.partition("?")[0]):
        oche.connect(url)


def test_workers_of_others_are_not_ours_to_start() -> None:
    for options in ({"max_workers": 2}, {"initializer": print}):
        with pytest.raises(Unsupported, match="dask worker"):
            oche.connect("dask://host", **options)  # type: ignore[arg-type]


def test_a_scheduler_with_encryption_is_spoken_to_with_encryption() -> None:
    with engine.dask.config.set({"distributed.comm.require-encryption": True}):
        assert engine._address("dask://host") == "tls://host:8786"
    assert engine._address("dask://[::1]:5") == "tcp://[::1]:5"
