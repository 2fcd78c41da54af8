"""`ipyparallel:`: everything an executor must do, on a cluster that runs; and one that the engine starts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import engine_chores
import numpy as np
import pytest
from exact import check_exact

import oche
from farms import until
from oche.errors import Broken, ConfigError, Crashed, Disconnected, Unsupported
from oche.servers.ipyparallel import IPythonCluster
from oche.testing import executor_calls as calls
from oche.testing.cluster_suite import ClusterSuite
from oche.testing.executor_rig import gone, lines, settled
from oche.testing.executor_suite import ExecutorSuite, Rig
from oche.testing.servers import missing
from oche.wire.pickles import pickled

missing(package="ipyparallel")
import ipyparallel  # noqa: E402

from oche.engines import ipyparallel as engine  # noqa: E402

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IPythonCluster]:
    with IPythonCluster(tmp_path_factory.mktemp("ipyparallel"), 2, environment=ENVIRONMENT) as cluster:
        yield cluster


class TestIPyParallel(ExecutorSuite, ClusterSuite):
    @pytest.fixture
    def rig(self, running: IPythonCluster) -> Rig:
        def opened() -> oche.Cluster:
            until(running.answers, "an engine that a test has killed is back")
            return oche.connect(running.url)

        return Rig(
            open=opened,
            traits=engine.IPyParallelEngine.traits,
            script=f"import oche; executor = oche.connect({running.url!r})",
        )

    @pytest.mark.parametrize(
        ("initializer", "why"), [(engine_chores.refuse_to_start, "no model here"), (calls.die, "died")]
    )
    def test_an_initializer_that_fails_is_told(
        self, running: IPythonCluster, initializer: Callable[..., object], why: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(engine, "DEATHS", 1)
        until(running.answers, "an engine that a test has killed is back")
        with pytest.raises(Broken, match=why):
            engine.EnginesExecutor(engine._file(running.url), (2, "", pickled((initializer, ()))))

    def test_the_librarys_own_views_work_beside(self, running: IPythonCluster) -> None:
        """What they push, a call finds in `__main__`; what a call leaves there, they pull."""
        until(running.answers, "an engine that a test has killed is back")
        file = str(engine._file(running.url))
        with oche.connect(running.url) as cluster, ipyparallel.Client(file) as client:
            with client[:].sync_imports(quiet=True):
                import colorsys  # noqa: F401
            client[:].push({"table": [3, 5], "found": 0}, block=True)
            assert list(cluster.map(engine_chores.pushed, ["table"] * 20)) == [[3, 5]] * 20
            leave = "import __main__; __main__.found = __main__.colorsys.TWO_THIRD"
            assert cluster.submit(exec, leave).result(30) is None
            assert sorted(client[:].pull("found", block=True)) == [0, 2 / 3]

    def test_a_profile_names_its_cluster(
        self, running: IPythonCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
        security = tmp_path / "profile_lab" / "security"
        security.mkdir(parents=True)
        for name in ("ipcontroller-client.json", "ipcontroller-two-client.json"):
            shutil.copy(engine._file(running.url), security / name)
        for url in ("ipyparallel://lab", "ipyparallel://lab/two"):
            with oche.connect(url) as cluster:
                assert cluster.submit(calls.square, 5).result(30) == 25
        with pytest.raises(Disconnected, match="ipcluster start"):
            oche.connect("ipyparallel://lab/three")


@pytest.fixture(scope="module")
def ours() -> Iterator[oche.Cluster]:
    start = {"initializer": engine_chores.remember, "initargs": ("OCHE_TEST_MARK", "here")}
    with oche.connect("ipyparallel:", max_workers=2, **start) as cluster:  # type: ignore[arg-type]
        yield cluster


def test_the_exact_pi_the_books_factor_and_a_product(ours: oche.Cluster) -> None:
    check_exact(ours)


def test_a_call_that_runs_in_a_cluster_of_ours_is_told_to_stop(ours: oche.Cluster, tmp_path: Path) -> None:
    path = tmp_path / "held"
    held = [ours.submit(calls.hold, str(path)) for _ in range(2)]
    until(lambda: len(lines(path)) == 2, "both engines are busy")
    assert len(set(lines(path))) == 2
    begin = time.monotonic()
    assert all(future.cancel() for future in held)
    assert ours.submit(calls.square, 5).result(30) == 25
    assert time.monotonic() - begin < 15


def test_engines_of_ours_share_memory(ours: oche.Cluster) -> None:
    shared = ours.share(np.arange(1000.0))
    assert list(ours.map(partial(calls.item, shared), range(0, 1000, 100))) == list(range(0, 1000, 100))


def test_an_initializer_runs_in_each_engine_also_in_its_successor(ours: oche.Cluster, tmp_path: Path) -> None:
    assert set(ours.map(engine_chores.recall, ["OCHE_TEST_MARK"] * 50)) == {"here"}
    assert ours.submit(calls.die_once, str(tmp_path / "died")).result(30) > 0
    path = tmp_path / "held"
    held = [ours.submit(calls.hold, str(path)) for _ in range(2)]
    until(lambda: len(lines(path)) == 2, "the successor is there")
    Path(f"{path}.go").touch()
    assert [one.result(30) for one in held] == ["let go"] * 2
    assert set(ours.map(engine_chores.recall, ["OCHE_TEST_MARK"] * 50)) == {"here"}


def test_a_call_that_kills_its_engines_fails_alone(ours: oche.Cluster, tmp_path: Path) -> None:
    path = str(tmp_path / "ran")
    good = [ours.submit(engine_chores.lasting, path, i, 0.3) for i in range(6)]
    poison = ours.submit(calls.die)
    assert [type(error) for error in settled([poison])] == [Crashed]
    assert "attempt 3 of 3" in str(poison.exception())
    assert [one.result(60) for one in good] == list(range(6))


def test_engines_and_controllers_that_are_gone_are_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"GONE": 0.5, "SILENT": 1.0, "QUIET": 0.5}.items():
        monkeypatch.setattr(engine, name, seconds)
    controller = IPythonCluster(tmp_path / "ipyparallel", 0, environment=ENVIRONMENT)
    with controller:
        monkeypatch.setattr(engine, "CONNECT", 1.0)
        with pytest.raises(Disconnected, match=r"no engine.*ipcluster engines"):
            oche.connect(controller.url)
        for victim in ("engine", "controller"):
            path = tmp_path / victim
            monkeypatch.setattr(engine, "CONNECT", 30.0)
            with started_engine(controller) as process, oche.connect(controller.url) as cluster:
                held = cluster.submit(calls.hold, str(path))
                until(lambda path=path: lines(path), "it runs")
                monkeypatch.setattr(engine, "CONNECT", 1.0)
                process.kill() if victim == "engine" else controller.kill()
                begin = time.monotonic()
                assert isinstance(held.exception(30), Broken)
                assert time.monotonic() - begin < 15
    with pytest.raises(Disconnected, match="no controller answers"):
        oche.connect(controller.url)


@contextmanager
def started_engine(controller: IPythonCluster) -> Iterator[subprocess.Popen[bytes]]:
    """One that nobody starts again."""
    file = f"--file={controller.folder}/security/ipcontroller-engine.json"
    command = [sys.executable, "-m", "ipyparallel.engine", file, f"--profile-dir={controller.folder}"]
    process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    try:
        until(controller.engines, "it is known")
        yield process
    finally:
        process.kill()
        process.wait(10)


def test_a_cluster_of_ours_leaves_nothing(tmp_path: Path) -> None:
    path, before = tmp_path / "pid", {thread.name for thread in threading.enumerate()}
    cluster = oche.connect("ipyparallel:", max_workers=1)
    cluster.submit(engine_chores.deaf, str(path), 600.0)
    until(lambda: path.exists() and path.read_text(), "it runs")
    begin = time.monotonic()
    cluster.shutdown(cancel_futures=True)
    assert time.monotonic() - begin < 15
    until(lambda: gone(int(path.read_text())), "its worker is gone")
    until(lambda: {thread.name for thread in threading.enumerate()} <= before, "its threads are gone")


def test_a_cluster_of_ours_ends_with_a_program_that_is_killed(tmp_path: Path) -> None:
    path, program = tmp_path / "pids", tmp_path / "program.py"
    program.write_text(  # without a guard: its engines do not import it
        "import oche\nfrom oche.testing import executor_calls as calls\n\n"
        f"oche.connect('ipyparallel:', max_workers=1).submit(calls.hold, {str(path)!r}).result()\n"
    )
    running = subprocess.Popen([sys.executable, str(program)], env={**ENVIRONMENT, "TMPDIR": str(tmp_path)})
    try:
        until(lambda: lines(path), "the engine is busy")
    finally:
        running.kill()
        running.wait(10)
    until(lambda: gone(lines(path)[0]), "the engine is gone")
    until(lambda: not list(tmp_path.glob("oche-*")), "all others are gone, and what they wrote")


@pytest.mark.parametrize("url", ["ipyparallel://", "ipyparallel:lab", "ipyparallel:///lab", "ipyparallel://lab?x=1"])
def test_urls_that_cannot_be_right(url: str) -> None:
    with pytest.raises(ConfigError, match=url.partition("?")[0]):
        oche.connect(url)


def test_engines_of_others_are_not_ours_to_start() -> None:
    for options in ({"max_workers": 2}, {"initializer": print}):
        with pytest.raises(Unsupported, match="ipcluster start"):
            oche.connect("ipyparallel://lab", **options)  # type: ignore[arg-type]
