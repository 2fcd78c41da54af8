"""Every engine does what an executor must; the standard library's own pools are held to the same."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import ExitStack

import pytest

import oche
from farms import Farm
from oche.engines.over import Given
from oche.engines.process import ProcessEngine
from oche.engines.seam import CREW
from oche.engines.thread import ThreadEngine
from oche.testing.cluster_suite import ClusterSuite
from oche.testing.executor_suite import ExecutorSuite, Rig


class Suite(ExecutorSuite, ClusterSuite):
    """Both."""


class TestLocal(Suite):
    @pytest.fixture
    def rig(self) -> Rig:
        return Rig(
            open=lambda: oche.connect("local:", max_workers=2),
            script="import oche; executor = oche.connect('local:', max_workers=2)",
        )


@pytest.fixture(scope="class")
def farm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """One for all tests of a class, with a worker."""
    farm = Farm(request.cls.engine, tmp_path_factory.mktemp(request.cls.engine))
    try:
        farm.worker("--slots", "2")
        yield farm
    finally:
        farm.close()


class OnAFarm(Suite):
    engine: str

    @pytest.fixture
    def rig(self, farm: Farm) -> Rig:
        return Rig(open=farm.connect, script=f"import oche; executor = oche.connect({farm.url!r})")


class TestSQLite(OnAFarm):
    engine = "sqlite"


class TestBeanstalkd(OnAFarm):
    engine = "beanstalkd"


class TestProcess(Suite):
    @pytest.fixture
    def rig(self) -> Rig:
        return Rig(
            open=lambda: oche.connect("process:", max_workers=2),
            traits=ProcessEngine.traits,
            script="import oche; executor = oche.connect('process:', max_workers=2)",
        )


class TestThread(Suite):
    @pytest.fixture
    def rig(self) -> Rig:
        return Rig(
            open=lambda: oche.connect("thread:", max_workers=2),
            traits=ThreadEngine.traits,
            separate=False,
            script="import oche; executor = oche.connect('thread:', max_workers=2)",
        )


def bare() -> Executor:
    """With all its processes: if one broke while it started another, its shutdown may wait for ever."""
    pool = ProcessPoolExecutor(2, multiprocessing.get_context("forkserver"))
    wait([pool.submit(time.sleep, 0.1) for _ in range(2)])
    return pool


class TestOverAPoolOfProcesses(Suite):
    @pytest.fixture
    def rig(self) -> Iterator[Rig]:
        with ExitStack() as pools:
            yield Rig(
                open=lambda: oche.over(pools.enter_context(bare())),
                traits=Given(ProcessPoolExecutor(2)).traits,
                script="import concurrent.futures, oche; pool = concurrent.futures.ProcessPoolExecutor(2); "
                "executor = oche.over(pool)",
            )


class TestTheStandardPoolOfProcesses(ExecutorSuite):
    @pytest.fixture
    def rig(self) -> Rig:
        script = "import concurrent.futures; executor = concurrent.futures.ProcessPoolExecutor(2)"
        return Rig(open=bare, traits=Given(ProcessPoolExecutor(2)).traits, script=script, standard=True)


class TestTheStandardPoolOfThreads(ExecutorSuite):
    @pytest.fixture
    def rig(self) -> Rig:
        script = "import concurrent.futures; executor = concurrent.futures.ThreadPoolExecutor(2)"
        return Rig(open=lambda: ThreadPoolExecutor(2), traits=CREW, script=script, standard=True, separate=False)
