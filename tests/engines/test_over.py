"""The engines that are executors, beyond the suite: algorithms, blame, ends, and what is refused."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import engine_chores
import numpy as np
import pytest

import oche
from farms import until
from oche.cli.main import main
from oche.engines.listing import listing
from oche.engines.opening import schemes
from oche.engines.over import Given
from oche.engines.process import ProcessEngine
from oche.engines.seam import CREW
from oche.engines.thread import ThreadEngine
from oche.errors import Broken, ConfigError, Crashed, TimedOut
from oche.plugins import load_driver
from oche.testing import executor_calls as calls
from oche.testing.executor_rig import gone, lines

ENGINES = ["process:", "thread:"]


@pytest.fixture(params=ENGINES)
def cluster(request: pytest.FixtureRequest) -> Iterator[oche.Cluster]:
    with oche.connect(request.param, max_workers=2) as cluster:
        yield cluster


def test_the_exact_pi_the_books_factor_and_a_product(cluster: oche.Cluster) -> None:
    assert oche.pi(3_000_000, cluster=cluster, seed=5).inside == oche.pi(3_000_000, seed=5).inside
    assert oche.smallest_factor(100109100129100369, cluster=cluster) == oche.smallest_factor(100109100129100369)
    a, b = np.random.default_rng(7).random((2, 90, 90))
    assert np.array_equal(oche.matmul(a, b, cluster=cluster), oche.matmul(a, b))
    assert oche.count_primes(0, 10**6, cluster=cluster) == 78498


def test_a_named_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCHE_STATE_DIR", str(tmp_path / "state"))
    path = tmp_path / "ran"
    for _ in range(2):
        with oche.connect("process:", run="twice", max_workers=2) as cluster:
            assert [cluster.submit(calls.mark, str(path), i).result(30) for i in range(5)] == list(range(5))
    assert lines(path) == list(range(5))


def test_neighbours_of_poison_are_not_blamed(tmp_path: Path) -> None:
    """Calls that last, beside one that kills the pool each time: whoever has one try left runs alone."""
    path = str(tmp_path / "ran")
    with oche.connect("process:", max_workers=3) as cluster:
        good = [cluster.submit(engine_chores.lasting, path, i, 0.4) for i in range(6)]
        poison = [cluster.submit(calls.die) for _ in range(2)]
        assert all(isinstance(one.exception(60), Crashed) for one in poison)
        assert [one.result(60) for one in good] == list(range(6))


def test_the_crash_of_a_call_tells_its_attempts() -> None:
    with oche.connect("process:", max_workers=1) as cluster:
        assert "attempt 1 of 1" in str(cluster.submit(oche.task(crashes=0)(calls.die)).exception(60))
        assert "attempt 3 of 3" in str(cluster.submit(calls.die).exception(60))


def test_an_initializer_runs_in_each_worker() -> None:
    start = {"initializer": engine_chores.remember, "initargs": ("OCHE_TEST_MARK", "here")}
    with oche.connect("process:", max_workers=2, **start) as cluster:  # type: ignore[arg-type]
        assert set(cluster.map(engine_chores.recall, ["OCHE_TEST_MARK"] * 50)) == {"here"}
    assert "OCHE_TEST_MARK" not in os.environ


@pytest.mark.parametrize("url", ENGINES)
def test_an_initializer_that_fails_breaks_the_cluster(url: str) -> None:
    with oche.connect(url, max_workers=2, initializer=engine_chores.refuse_to_start) as cluster:
        future = cluster.submit(calls.square, 3)
        assert isinstance(future.exception(60), Broken)
        with pytest.raises(Broken):
            cluster.submit(calls.square, 3)


@pytest.mark.parametrize("url", ["process:x", "thread:4", "process://host"])
def test_urls_that_cannot_be_right(url: str) -> None:
    with pytest.raises(ConfigError, match="something after"):
        oche.connect(url)


@pytest.mark.parametrize("url", ENGINES)
def test_too_few_workers(url: str) -> None:
    with pytest.raises(ConfigError, match="max_workers is 0"):
        oche.connect(url, max_workers=0)


def test_over_refuses_what_is_no_executor() -> None:
    for wrong in (3, "process:", object()):
        with pytest.raises(ConfigError, match="give a concurrent"):
            oche.over(wrong)  # type: ignore[arg-type]
    with oche.connect("thread:", max_workers=1) as cluster, pytest.raises(ConfigError, match="Cluster"):
        oche.over(cluster)
    with ThreadPoolExecutor(1) as closed:
        pass
    with pytest.raises(ConfigError, match="takes no calls"):
        oche.over(closed)


def test_an_executor_given_to_over_stays_its_owners() -> None:
    with ThreadPoolExecutor(3) as pool:
        with oche.over(pool) as cluster:
            assert cluster.slots == 3
            assert oche.pi(10**5, cluster=cluster).inside == oche.pi(10**5).inside
        assert pool.submit(calls.square, 5).result(30) == 25


def test_an_executor_that_is_shut_down_under_us_breaks_the_cluster() -> None:
    pool = ThreadPoolExecutor(2)
    with oche.over(pool) as cluster:
        assert cluster.submit(calls.square, 5).result(30) == 25
        pool.shutdown()
        assert isinstance(cluster.submit(calls.square, 5).exception(30), Broken)


def test_a_call_in_compiled_code_is_given_up_after_its_time() -> None:
    with oche.connect("process:", max_workers=2) as cluster:
        begin = time.monotonic()
        limited = oche.task(timeout=0.3)(engine_chores.compute_in_c)
        error = cluster.submit(limited, 10**9).exception(30)
        assert isinstance(error, TimedOut)
        assert "given up" in str(error)
        assert time.monotonic() - begin < 15


def test_a_call_that_does_not_listen_is_killed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    cluster = oche.connect("process:", max_workers=2)
    cluster.submit(engine_chores.deaf, str(path), 600.0)
    until(lambda: path.exists() and path.read_text(), "it runs")
    begin = time.monotonic()
    cluster.shutdown(cancel_futures=True)
    assert time.monotonic() - begin < 15
    until(lambda: gone(int(path.read_text())), "its process is gone")


def test_a_cluster_leaves_no_thread_and_no_process() -> None:
    before = {thread.name for thread in threading.enumerate()}
    with oche.connect("process:", max_workers=2) as cluster:
        pids = set(cluster.map(calls.process_id, range(200)))
    until(lambda: all(gone(pid) for pid in pids), "its processes are gone")
    until(lambda: {thread.name for thread in threading.enumerate()} <= before, "its threads are gone")
    left = weakref.ref(cluster)
    del cluster
    until(lambda: gc.collect() >= 0 and left() is None, "nobody holds it")


def test_workers_end_with_a_program_that_is_killed(tmp_path: Path) -> None:
    path, program = tmp_path / "pids", tmp_path / "program.py"
    program.write_text(
        "import oche\nfrom oche.testing import executor_calls as calls\n\n\nif __name__ == '__main__':\n"
        "    with oche.connect('process:', max_workers=2) as cluster:\n"
        f"        cluster.submit(calls.hold, {str(path)!r})\n"
        f"        cluster.submit(calls.hold, {str(path)!r}).result()\n"
    )
    running = subprocess.Popen([sys.executable, str(program)])
    try:
        until(lambda: len(lines(path)) == 2, "both workers are busy")
    finally:
        running.kill()
        running.wait(10)
    until(lambda: all(gone(pid) for pid in lines(path)), "the workers are gone", seconds=20)


def test_a_program_without_its_guard_is_told_so(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import oche\n\nwith oche.connect('process:', max_workers=1) as cluster:\n"
        "    print(cluster.submit(abs, -3).result(50))\n"
    )
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=False)
    assert "__main__" in done.stderr


#: Columns of the document's table, after those that have names here.
OF_OTHERS = ("mpi", "celery", "dask", "ipyparallel", "pp")
DOCUMENT = Path(__file__).parents[2] / "docs" / "engines.md"


def test_the_program_of_the_document_runs(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    program = tmp_path / "program.py"
    program.write_text(text)
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{oche.pi(10**7).inside} {oche.smallest_factor(100109100129101027)}\n"


def test_the_table_of_the_document_is_what_the_engines_say() -> None:
    text = DOCUMENT.read_text().partition("## Other people's executors")[2]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    columns = [CREW, ProcessEngine.traits, ThreadEngine.traits]
    with ProcessPoolExecutor(1) as pool:
        columns.append(Given(pool).traits)
    columns += [load_driver(f"{scheme}:", schemes(), "engine").traits for scheme in OF_OTHERS]
    for name, *cells in (row for row in rows if ": " in row[0]):
        trait = name.partition(":")[0]
        assert [cell.startswith("yes") for cell in cells] == [getattr(traits, trait) for traits in columns], trait


def test_oche_engines_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engines"]) == 0
    shown = capsys.readouterr().out
    for engine in listing():
        assert f"{engine.scheme}:" in shown
    assert main(["engines", "--json"]) == 0
    found = {engine["scheme"]: engine for engine in json.loads(capsys.readouterr().out)}
    assert {"local", "sqlite", "beanstalkd", *schemes()} <= set(found)
    assert found["thread"]["traits"]["timeout"] is False
    assert found["process"]["traits"]["survives"] is True
    assert found["local"]["traits"] == dict.fromkeys(found["local"]["traits"], True)


def test_calls_that_wait_when_the_executor_breaks_are_told(tmp_path: Path) -> None:
    """More of them than are put at a time."""
    with ProcessPoolExecutor(2) as pool, oche.over(pool) as cluster:
        path = tmp_path / "held"
        held = [cluster.submit(calls.hold, str(path)) for _ in range(2)]
        until(lambda: len(lines(path)) == 2, "both workers are busy")
        waiting = [cluster.submit(calls.square, i) for i in range(300)]
        os.kill(lines(path)[0], signal.SIGKILL)
        assert all(isinstance(future.exception(30), Broken) for future in [*held, *waiting])


class Tardy(Future[Any]):
    """Ends just when somebody has given up waiting for it, for the first time."""

    waited = False

    def result(self, timeout: float | None = None) -> Any:
        value = super().result(None)
        if not self.waited:
            self.waited = True
            raise TimeoutError
        return value


class Tardily(Executor):
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = Tardy()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


def test_a_call_that_ends_just_as_we_look_away_has_its_value() -> None:
    with oche.over(Tardily()) as cluster:
        assert list(cluster.map(calls.square, range(20), chunksize=1)) == [i * i for i in range(20)]
        with pytest.raises(TimeoutError, match="its own"):
            cluster.submit(calls.fail, TimeoutError, "its own").result(30)
