"""The client's face, on every engine, with real workers."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import importlib
import itertools
import math
import operator
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import errands
import oche
from farms import HERE, Farm, until
from oche.errors import ConfigError, TooLarge, Unsendable, Unsupported


def test_submit(cluster: oche.Cluster) -> None:
    assert cluster.submit(math.sqrt, 16).result(30) == 4.0
    assert cluster.submit(errands.add, 1, b=2).result(30) == 3
    assert cluster.submit(functools.partial(errands.add, b=5), 1).result(30) == 6


def test_what_is_not_importable_travels_by_value(cluster: oche.Cluster) -> None:
    factor = 3
    assert cluster.submit(lambda x: x * factor, 5).result(30) == 15

    def tripled(x: int) -> int:
        return factor * x

    assert list(cluster.map(tripled, range(5))) == [0, 3, 6, 9, 12]
    factor = 4
    assert cluster.submit(tripled, 5).result(30) == 20


def test_a_storm_of_submits_gives_each_its_own_answer(cluster: oche.Cluster) -> None:
    futures = [cluster.submit(errands.square, i) for i in range(3000)]
    assert [future.result(60) for future in futures] == [i * i for i in range(3000)]


def test_many_threads_may_submit(cluster: oche.Cluster) -> None:
    answers: dict[int, list[int]] = {}

    def client(number: int) -> None:
        futures = [cluster.submit(errands.square, number * 1000 + i) for i in range(200)]
        answers[number] = [future.result(60) for future in futures]

    threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == {n: [(n * 1000 + i) ** 2 for i in range(200)] for n in range(8)}


def test_map_is_ordered_and_takes_several_iterables(cluster: oche.Cluster) -> None:
    assert list(cluster.map(errands.square, range(5000))) == [i * i for i in range(5000)]
    assert list(cluster.map(errands.add, [1, 2, 3], [10, 20])) == [11, 22]
    assert list(cluster.map(errands.square, [])) == []
    assert list(cluster.starmap(errands.add, [(1, 2), (3, 4)])) == [3, 7]
    assert sorted(cluster.imap_unordered(errands.square, range(1000))) == [i * i for i in range(1000)]


def test_chunksize_is_honoured(cluster: oche.Cluster) -> None:
    assert list(cluster.map(errands.square, range(10), chunksize=4)) == [i * i for i in range(10)]
    with pytest.raises(ConfigError, match="chunksize is 0"):
        cluster.map(errands.square, range(10), chunksize=0)


def test_map_is_lazy_in_an_endless_input(cluster: oche.Cluster) -> None:
    pulled = 0

    def numbers() -> Iterator[int]:
        nonlocal pulled
        for number in itertools.count():
            pulled = number
            yield number

    results = cluster.map(functools.partial(errands.slow_square, seconds=0.005), numbers())
    assert list(itertools.islice(results, 50)) == [i * i for i in range(50)]
    assert pulled < 5_000
    results.close()  # type: ignore[attr-defined]
    assert cluster.submit(errands.square, 3).result(30) == 9


def test_a_map_that_nobody_reads_is_worked_off_at_the_end(farm: Farm, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with farm.connect() as cluster:
        cluster.map(functools.partial(errands.log_run, str(log)), range(300), chunksize=1)
    assert sorted(map(int, log.read_text().split())) == list(range(300))


def test_a_closed_map_runs_no_further(cluster: oche.Cluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    cluster.map(functools.partial(errands.log_run, str(log), seconds=0.01), range(10_000), chunksize=1).close()  # type: ignore[attr-defined]
    assert cluster.submit(errands.square, 4).result(30) == 16
    assert len(log.read_text().split()) < 1_000


def test_map_raises_at_its_place(cluster: oche.Cluster) -> None:
    results = cluster.map(functools.partial(errands.fail_on, bad=3), range(10), chunksize=1)
    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    with pytest.raises(ValueError, match="bad 3"):
        next(results)


def test_map_times_out(cluster: oche.Cluster) -> None:
    begin = time.monotonic()
    with pytest.raises(TimeoutError):
        list(cluster.map(errands.spin, [30.0, 30.0], timeout=0.5))
    assert time.monotonic() - begin < 10


def test_an_exception_is_the_callers_own_with_the_remote_traceback(cluster: oche.Cluster) -> None:
    error = cluster.submit(errands.fail, "oops").exception(30)
    assert type(error) is ValueError
    assert error.args == ("oops",)
    assert "in fail" in str(error.__cause__)


def test_progress_is_shown_on_stderr(cluster: oche.Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(cluster.map(errands.square, range(100), progress=True)) == [i * i for i in range(100)]
    assert cluster.reduce(errands.span_sum, range(50), operator.add, progress=True) == sum(range(50))
    shown = capsys.readouterr()
    assert "100/100" in shown.err
    assert "50/50" in shown.err
    assert shown.out == ""


def test_reduce(cluster: oche.Cluster) -> None:
    n = 200_000
    assert cluster.reduce(errands.span_sum, range(n), operator.add) == n * (n - 1) // 2
    assert cluster.reduce(errands.span_sum, range(100, 200), operator.add) == sum(range(100, 200))
    assert cluster.reduce(errands.span_sum, range(0), operator.add, initial=7) == 7
    with pytest.raises(ConfigError, match="empty"):
        cluster.reduce(errands.span_sum, range(0), operator.add)
    with pytest.raises(ConfigError, match="step 1"):
        cluster.reduce(errands.span_sum, range(0, 10, 2), operator.add)


def test_reduce_combines_in_order_and_tells_how_far_it_is(cluster: oche.Cluster) -> None:
    told: list[tuple[int, list[int]]] = []
    spans = cluster.reduce(
        lambda lo, hi: [(lo, hi)], range(10_000), operator.add, on_part=lambda n, value: told.append((n, value))
    )
    assert spans[0][0] == 0
    assert spans[-1][1] == 10_000
    assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
    assert [n for n, _ in told] == [hi for _, hi in spans]


def test_first(cluster: oche.Cluster) -> None:
    assert cluster.first(functools.partial(errands.find, wanted=123_456), range(10**6)) == 123_456
    assert cluster.first(functools.partial(errands.find, wanted=-1), range(1000)) is None


def test_first_gives_the_lowest_even_if_a_higher_one_is_sooner(cluster: oche.Cluster, tmp_path: Path) -> None:
    sooner = str(tmp_path / "sooner")

    def both(lo: int, hi: int) -> int | None:
        import os
        import time

        end = time.monotonic() + 20
        if not lo <= 0 < hi:
            open(sooner, "w").close()
            return lo
        while not os.path.exists(sooner) and time.monotonic() < end:
            time.sleep(0.01)
        return 0

    assert cluster.first(both, range(1000)) == 0
    assert Path(sooner).exists()


def test_futures_are_standard(cluster: oche.Cluster) -> None:
    futures = [cluster.submit(errands.square, i) for i in range(20)]
    done, pending = concurrent.futures.wait(futures, timeout=30)
    assert (len(done), len(pending)) == (20, 0)
    assert {f.result() for f in concurrent.futures.as_completed(futures, timeout=30)} == {i * i for i in range(20)}

    async def awaited() -> int:
        return await asyncio.wrap_future(cluster.submit(errands.square, 12))

    assert asyncio.run(awaited()) == 144


def test_cancel_of_a_running_call_stops_it(cluster: oche.Cluster) -> None:
    futures = [cluster.submit(errands.spin, 60.0) for _ in range(cluster.slots)]
    behind = cluster.submit(errands.square, 5)
    begin = time.monotonic()
    for future in futures:
        assert future.cancel()
        assert future.cancelled()
        assert future.cancel()
    assert behind.result(30) == 25
    assert time.monotonic() - begin < 20
    with pytest.raises(concurrent.futures.CancelledError):
        futures[0].result()
    assert not behind.cancel()
    assert concurrent.futures.wait(futures, timeout=5).not_done == set()


def test_cancel_of_a_waiting_call_keeps_it_from_running(farm: Farm, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with farm.connect() as cluster:
        blockers = [cluster.submit(errands.spin, 1.0) for _ in range(cluster.slots)]
        waiting = [cluster.submit(errands.log_run, str(log), i) for i in range(500)]
        cancelled = [future.cancel() for future in waiting[100:]]
        assert all(cancelled)
        assert [future.result(30) for future in waiting[:100]] == [i * i for i in range(100)]
        assert {future.result(30) for future in blockers} == {"ran out"}
    ran = {int(line) for line in log.read_text().split()}
    assert set(range(100)) <= ran
    assert not {i for i in ran if i >= 200}


def test_output_comes_home(cluster: oche.Cluster) -> None:
    future = cluster.submit(errands.shout, "hello there")
    assert future.result(30) == "hello there"
    assert ("stdout", "hello there\n") in future.output
    assert ("stderr", "warned\n") in future.output
    assert "/" in future.worker


def test_what_cannot_travel_is_refused_at_submit(cluster: oche.Cluster) -> None:
    with pytest.raises(Unsendable, match="lock"):
        cluster.submit(errands.square, threading.Lock())
    with pytest.raises(Unsendable, match="not callable"):
        cluster.submit(3, 4)  # type: ignore[arg-type]


def test_what_is_too_large_is_refused_at_submit(farm: Farm) -> None:
    if farm.engine != "beanstalkd":
        pytest.skip("this engine has no limit on the size of a job")
    with farm.connect() as cluster:
        with pytest.raises(TooLarge, match="65,535"):
            cluster.submit(len, "x" * 70_000)
        with pytest.raises(TooLarge):
            list(cluster.map(len, ["x" * 70_000]))
        assert sum(cluster.map(len, ["x" * 30_000] * 20)) == 600_000


def test_shutdown_waits_for_what_is_out(farm: Farm) -> None:
    cluster = farm.connect()
    futures = [cluster.submit(errands.slow_square, i) for i in range(20)]
    cluster.shutdown()
    assert [future.result(0) for future in futures] == [i * i for i in range(20)]
    with pytest.raises(RuntimeError, match="after shutdown"):
        cluster.submit(errands.square, 1)
    cluster.shutdown()


def test_shutdown_without_waiting_lets_calls_finish(farm: Farm) -> None:
    cluster = farm.connect()
    futures = [cluster.submit(errands.slow_square, i) for i in range(20)]
    begin = time.monotonic()
    cluster.shutdown(wait=False)
    assert time.monotonic() - begin < 1
    assert [future.result(30) for future in futures] == [i * i for i in range(20)]


def test_shutdown_may_call_everything_off(farm: Farm) -> None:
    cluster = farm.connect()
    futures = [cluster.submit(errands.spin, 60.0) for _ in range(20)]
    begin = time.monotonic()
    cluster.shutdown(cancel_futures=True)
    assert time.monotonic() - begin < 20
    assert all(
        future.cancelled() or isinstance(future.exception(0), concurrent.futures.CancelledError) for future in futures
    )


def test_a_farm_keeps_its_tubes_to_itself(farm: Farm) -> None:
    if farm.engine == "local":
        pytest.skip("nobody else is on a local cluster")
    with farm.connect() as cluster, oche.connect(f"{farm.url}?farm=other") as other:
        lonely = other.submit(errands.square, 2)
        assert cluster.submit(errands.square, 3).result(30) == 9
        assert not lonely.done()
        lonely.cancel()


def test_options_that_an_engine_lacks_are_refused(farm: Farm) -> None:
    if farm.engine == "local":
        pytest.skip("local starts its own workers")
    with pytest.raises(Unsupported, match="oche worker"):
        oche.connect(farm.url, max_workers=2)


def test_pi_is_the_same_integer_everywhere(cluster: oche.Cluster) -> None:
    assert oche.pi(10**7, seed=5, cluster=cluster).inside == oche.pi(10**7, seed=5).inside


def test_an_initializer_runs_in_each_child_and_its_failure_breaks_the_cluster() -> None:
    def remember(value: int) -> None:
        import os

        os.environ["REMEMBERED"] = str(value)

    def recalled(_: int) -> str:
        import os

        return os.environ["REMEMBERED"]

    with oche.connect("local:", max_workers=2, initializer=remember, initargs=(42,)) as cluster:
        assert set(cluster.map(recalled, range(20))) == {"42"}
    with oche.connect("local:", max_workers=2, initializer=errands.fail, initargs=("no luck",)) as cluster:
        with pytest.raises(concurrent.futures.BrokenExecutor, match="no luck"):
            cluster.submit(errands.square, 1).result(30)
        until(lambda: _refuses(cluster), "the broken cluster takes no more")


def _refuses(cluster: oche.Cluster) -> bool:
    try:
        cluster.submit(errands.square, 1)
    except concurrent.futures.BrokenExecutor:
        return True
    return False


def test_an_argument_that_the_worker_cannot_read_fails_its_own_call_only(
    farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if farm.engine == "local":
        pytest.skip("local workers import what the client can")
    (tmp_path / "here").mkdir()
    source = "import dataclasses\n@dataclasses.dataclass\nclass Point:\n    x: int\n"
    (tmp_path / "here" / "only_here.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path / "here"))
    point = importlib.import_module("only_here").Point(2)
    with farm.connect() as cluster:
        futures = [cluster.submit(str, x) for x in (0, 1, point, 3)]
        assert [futures[x].result(30) for x in (0, 1, 3)] == ["0", "1", "3"]
        assert "only_here" in str(futures[2].exception(30))


FORKING = """
import os, sys, errands, oche
with oche.connect(sys.argv[1], **({"max_workers": 1} if sys.argv[1] == "local:" else {})) as cluster:
    future = cluster.submit(errands.wait_for, sys.argv[2])
    child = os.fork()
    if child == 0:
        sys.exit(7)  # and all that is done on the way out
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    open(sys.argv[2], "w").close()
    print(code, future.result(30), cluster.submit(errands.square, 5).result(30))
"""


def test_a_forked_copy_of_the_client_ends_and_does_no_harm(farm: Farm, tmp_path: Path) -> None:
    with farm.connect() as cluster:  # workers are there
        assert cluster.submit(errands.square, 3).result(30) == 9
    command = [sys.executable, "-c", FORKING, farm.url, str(tmp_path / "gate")]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "7 None 25\n", done.stderr
