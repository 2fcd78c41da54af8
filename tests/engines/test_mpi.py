"""`mpi:`: all that an executor must do, with MPICH; what differs between MPIs, with both; inside of programs of MPI."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from tempfile import TemporaryDirectory

import engine_chores
import psutil
import pytest
from exact import check_exact

import oche
from farms import until
from oche.engines.over import open_over
from oche.engines.seam import Start
from oche.errors import Broken, ConfigError, Crashed, Disconnected, Unsupported
from oche.stores.opening import here_store
from oche.testing import executor_calls as calls
from oche.testing.cluster_suite import ClusterSuite
from oche.testing.executor_rig import gone, lines, settled
from oche.testing.executor_suite import ExecutorSuite, Rig
from oche.testing.servers import missing

missing(package="mpi4py")
from oche.engines.mpi import MPIEngine  # noqa: E402
from oche.engines.mpi_crew import Crew  # noqa: E402

MPICH, OPEN_MPI = "mpi:?mpiexec=mpiexec.mpich", "mpi:?mpiexec=mpiexec.openmpi"


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    for url in (MPICH, OPEN_MPI):
        missing(url.partition("=")[2])


class Kept(MPIEngine):
    """Its crew serves all clusters, until it breaks: it takes longer to start than most tests."""

    crew: Crew | None = None

    def executor(self) -> Executor:
        if self.crew is None or self.crew.refusal is not None:
            made = super().executor()
            assert isinstance(made, Crew)
            self.crew = made
        return self.crew

    def end(self, executor: Executor) -> None:
        if isinstance(executor, Crew) and executor.refusal is not None:
            super().end(executor)


@pytest.fixture(scope="module")
def kept() -> Iterator[Kept]:
    engine = Kept.open(MPICH, Start(max_workers=2))
    yield engine
    engine.executor().shutdown()


class TestMPI(ExecutorSuite, ClusterSuite):
    @pytest.fixture
    def rig(self, kept: Kept) -> Rig:
        return Rig(
            open=lambda: open_over(kept, "mpi:", f"_{os.urandom(8).hex()}", None, here_store()),
            traits=MPIEngine.traits,
            script=f"import oche; executor = oche.connect({MPICH!r}, max_workers=2)",
        )


@pytest.fixture(scope="module", params=[MPICH, OPEN_MPI])
def ours(request: pytest.FixtureRequest) -> Iterator[oche.Cluster]:
    start = {"initializer": engine_chores.remember, "initargs": ("OCHE_TEST_MARK", "here")}
    with oche.connect(request.param, max_workers=2, **start) as cluster:
        yield cluster


def test_the_exact_pi_the_books_factor_and_a_product(ours: oche.Cluster) -> None:
    check_exact(ours)


def test_calls_of_a_killed_rank_run_again_after_the_initializer(ours: oche.Cluster, tmp_path: Path) -> None:
    path = str(tmp_path / "ran")
    good = [ours.submit(engine_chores.lasting, path, i, 0.3) for i in range(4)]
    os.kill(ours.submit(calls.process_id).result(30), signal.SIGKILL)
    poison = ours.submit(oche.task(crashes=0)(calls.die))
    assert isinstance(poison.exception(60), Crashed)
    assert [one.result(60) for one in good] == list(range(4))
    assert set(ours.map(engine_chores.recall, ["OCHE_TEST_MARK"] * 50)) == {"here"}


def test_a_cluster_leaves_nothing_not_even_a_call_that_does_not_listen(tmp_path: Path) -> None:
    path, before = tmp_path / "pid", {thread.name for thread in threading.enumerate()}
    cluster = oche.connect(MPICH, max_workers=2)
    (mpiexec,) = started()
    family = [mpiexec, *mpiexec.children(recursive=True)]
    cluster.submit(engine_chores.deaf, str(path), 600.0)
    until(lambda: path.exists() and path.read_text(), "it runs")
    begin = time.monotonic()
    cluster.shutdown(cancel_futures=True)
    assert time.monotonic() - begin < 15
    until(lambda: all(gone(process.pid) for process in family), "its processes are gone")
    until(lambda: {thread.name for thread in threading.enumerate()} <= before, "its threads are gone")


@pytest.mark.parametrize("url", [MPICH, OPEN_MPI])
def test_ranks_end_with_a_program_that_is_killed(url: str, tmp_path: Path) -> None:
    path, program = tmp_path / "pids", tmp_path / "program.py"
    program.write_text(  # without a guard: the ranks do not import it
        "import oche\nfrom oche.testing import executor_calls as calls\n\n"
        f"oche.connect({url!r}, max_workers=1).submit(calls.hold, {str(path)!r}).result()\n"
    )
    running = subprocess.Popen([sys.executable, str(program)], stderr=subprocess.DEVNULL)
    try:
        until(lambda: lines(path), "the worker is busy")
        (mpiexec,) = psutil.Process(running.pid).children()
        family = [mpiexec, *mpiexec.children(recursive=True)]
    finally:
        running.kill()
        running.wait(10)
    until(lambda: all(gone(process.pid) for process in family), "its processes are gone")


def test_an_mpiexec_that_is_killed_takes_its_ranks_along(monkeypatch: pytest.MonkeyPatch) -> None:
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # of which it leaves something
        monkeypatch.setenv("TMPDIR", folder)
        with oche.connect(OPEN_MPI, max_workers=1) as cluster:  # whose ranks would go on
            rank = cluster.submit(calls.process_id).result(30)
            (mpiexec,) = started()
            mpiexec.kill()
            until(lambda: gone(rank), "the ranks are gone")
            assert settled([cluster.submit(calls.square, 3)]) == [None]


def started() -> list[psutil.Process]:
    """The mpiexec of the newest cluster of this process; its id may be lower than those of older ones."""
    found = [one for one in psutil.Process().children() if "oche.engines.mpi_crew" in one.cmdline()]
    return sorted(found, key=psutil.Process.create_time)[-1:]


def test_an_initializer_that_fails_is_told_at_once() -> None:
    with pytest.raises(Broken, match="no model here"):
        oche.connect(MPICH, max_workers=1, initializer=engine_chores.refuse_to_start)


def test_an_mpiexec_of_another_mpi_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MPI4PY_MPIABI", "openmpi")
    with pytest.raises(Disconnected, match=r"same MPI.*mpiexec=/path"):
        oche.connect(MPICH, max_workers=1)
    assert "mpiexec started 2 processes, and mpi4py sees 1" in capfd.readouterr().err


@pytest.mark.parametrize("url", ["mpi:x", "mpi://host", "mpi:?n=3", "mpi:?mpiexec=", "mpi:?mpiexec=/no/such/mpiexec"])
def test_urls_that_cannot_be_right(url: str) -> None:
    with pytest.raises(ConfigError, match="mpiexec=/path/to/mpiexec"):
        oche.connect(url)


def test_where_there_is_no_mpiexec(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unsupported, match="apt install openmpi-bin"):
        oche.connect("mpi:")


def test_too_few_workers() -> None:
    with pytest.raises(ConfigError, match="max_workers is 0"):
        oche.connect(MPICH, max_workers=0)


# Inside of a program of MPI's

PROGRAM = """
import sys
import oche
from oche.testing import executor_calls as calls

if __name__ == "__main__":
    cluster = oche.connect("mpi:")
    assert cluster.slots == 2
    if sys.argv[1] == "dies":
        cluster.submit(calls.die).exception()
        print("survived")
    elif sys.argv[1] == "forgets":
        cluster.map(calls.slow_mark, [sys.argv[2]] * 100, range(100))
    else:
        with cluster:
            assert cluster.store is not None  # all ranks are on this machine
            assert cluster.first(calls.answer_or_spin, range(40)) == 0
            print(sum(cluster.map(calls.square, range(1000))))
"""


def run(url: str, tmp_path: Path, *arguments: str, ranks: int = 3) -> tuple[int, str]:
    """Exit status and all that it says."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    library = tmp_path / "libmpi.so.12"  # which Debian calls otherwise
    library.symlink_to(f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}/libmpich.so.12")
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(tmp_path),
        "MPI4PY_MPIABI": "mpich" if url == MPICH else "openmpi",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
    }
    command = [
        url.partition("=")[2],
        "-n",
        str(ranks),
        sys.executable,
        "-m",
        "mpi4py.futures",
        str(program),
        *arguments,
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("url", [MPICH, OPEN_MPI])
def test_the_workers_of_the_programs_own_mpiexec(url: str, tmp_path: Path) -> None:
    status, said = run(url, tmp_path, "computes")
    assert (status, said) == (0, f"{sum(i * i for i in range(1000))}\n")


def test_a_dead_rank_ends_the_programs_own_mpiexec(tmp_path: Path) -> None:
    status, said = run(MPICH, tmp_path, "dies")
    assert status != 0
    assert "survived" not in said


def test_a_program_that_leaves_its_calls_alone_is_told_so(tmp_path: Path) -> None:
    assert "it should end its clusters before, by `with`" in run(MPICH, tmp_path, "forgets", str(tmp_path / "ran"))[1]


def test_a_program_of_one_rank_has_no_workers(tmp_path: Path) -> None:
    assert "with `mpiexec -n N`, N at least 2" in run(MPICH, tmp_path, "computes", ranks=1)[1]


def test_a_program_of_mpi_whose_ranks_all_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMI_RANK", "1")
    with pytest.raises(ConfigError, match=r"mpiexec -n N python -m mpi4py\.futures"):
        oche.connect("mpi:")
