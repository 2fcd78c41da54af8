"""Calls that kill their process, and calls that misbehave in every other way; their neighbours notice nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import mischief
import psutil
import pytest

from farms import Farm, until
from oche.errors import Crashed, ResultUnsendable, TaskError
from oche.queues.opening import open_queue
from oche.queues.seam import Queue, State
from oche.wire.job import Job, decode_job
from oche.wire.names import Farm as Names
from oche.wire.signing import Signer, load_key

WORK = Names().work


def nothing_left(queue: Queue, tube: str) -> bool:
    stats = queue.stats(tube)
    return not (stats.ready or stats.reserved or stats.delayed or stats.buried)


def exhume(farm: Farm, count: int) -> list[Job]:
    """Takes the buried jobs out of the work tube; there must be so many soon, and then nothing else."""
    signer, bodies = Signer(load_key(local=True)), []
    with open_queue(farm.url) as queue:
        until(lambda: queue.stats(WORK).buried == count, f"{count} buried jobs")
        if queue.traits.peek:
            while (peeked := queue.peek(WORK, State.BURIED)) is not None:
                bodies.append(peeked.body)
                assert queue.discard(peeked.id)
        else:  # who cannot look has to take them
            farm.end_workers()
            assert queue.kick(WORK, count) == count
            while got := queue.reserve_many([WORK], count, 0.0):
                bodies += [delivery.body for delivery in got]
                queue.delete_many(got)
        until(partial(nothing_left, queue, WORK), "nothing else is in the work tube")
    opened = [signer.open(body) for body in bodies]
    assert all(signed for _, signed in opened)
    return [decode_job(body) for body, _ in opened]


def test_poison_among_submitted_calls_fails_alone(farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oche.cluster.backup.PATIENCE", 60.0)  # a copy of a late job has attempts of its own
    path = tmp_path / "ran"
    ways = {67: "SIGKILL", 133: "SIGSEGV", 208: "exit 3"}
    if farm.engine != "local":  # its workers have no memory limit
        ways[255] = "hog"
        farm.worker("--slots", "2", "--memory-limit", "250M")
    with farm.connect() as cluster:
        warm = [cluster.submit(mischief.poison, str(path), -x, "").result(30) for x in range(1, 9)]
        assert [value for value, _ in warm] == [x * x for x in range(1, 9)]
        futures = [cluster.submit(mischief.poison, str(path), x, ways.get(x, "")) for x in range(300)]
        good = {x: future.result(60) for x, future in enumerate(futures) if x not in ways}
        assert {x: value for x, (value, _) in good.items()} == {x: x * x for x in range(300) if x not in ways}
        assert len({job for _, job in good.values()}) < 150, "the calls did not travel together"
        errors = {x: futures[x].exception(60) for x in ways}
    for x, error in errors.items():
        assert type(error) is Crashed
        message = str(error)
        assert "mischief:poison" in message
        assert "attempt 3 of 3" in message
        assert "memory limit" in message if ways[x] == "hog" else f"ended by {ways[x]}" in message
        assert "MiB of memory at its peak" in message
    ran = Counter(map(int, path.read_text().split()))
    assert {x: ran[x] for x in ways} == dict.fromkeys(ways, 3)
    assert min(ran[x] for x in range(300)) == 1
    if farm.engine != "local":
        buried = exhume(farm, len(ways))
        reasons = sorted(job.reason for job in buried)
        assert all(job.count == 1 for job in buried)
        assert reasons == sorted(str(error).rpartition(" (on ")[0] for error in errors.values())


def test_poison_in_a_mapped_chunk_spares_what_is_before_it(farm: Farm, tmp_path: Path) -> None:
    path = tmp_path / "ran"
    got = []
    with farm.connect() as cluster:
        results = cluster.map(partial(mischief.poison_on, path=str(path), bad=38), range(60), chunksize=25)
        with pytest.raises(Crashed, match=r"SIGKILL.*attempt 3 of 3"):
            got.extend(results)
        assert got == [x * x for x in range(25)], "all chunks before that of the poison"
        fine = cluster.map(partial(mischief.poison_on, path=str(path), bad=-1), range(60), chunksize=25)
        assert list(fine) == [x * x for x in range(60)]
    ran = Counter(map(int, path.read_text().split()))
    assert ran[38] == 3 + 1
    if farm.engine != "local":
        assert [(job.first, job.count) for job in exhume(farm, 1)] == [(13, 1)]


@pytest.mark.parametrize(
    ("engine", "rounds", "chunk", "bound"),
    [("local", 500, 1, 150.0), ("local", 20, 5, 30.0), ("sqlite", 40, 2, 30.0), ("beanstalkd", 40, 2, 30.0)],
)
@pytest.mark.timeout(180)
def test_rounds_of_calls_that_kill_their_own_child(
    make_farm: Callable[..., Farm], engine: str, rounds: int, chunk: int, bound: float
) -> None:
    """Each succeeds at its second attempt, also where a chunk of such calls travels together."""
    with make_farm(engine).connect() as cluster:
        assert cluster.submit(abs, -1).result(30) == 1
        began = time.monotonic()
        assert list(cluster.map(mischief.die_at_first, range(rounds), chunksize=chunk)) == list(range(rounds))
        assert time.monotonic() - began < bound


def test_whatever_a_task_raises_comes_back(farm: Farm) -> None:
    with farm.connect() as cluster:
        futures = {
            name: cluster.submit(mischief.raise_named, name)
            for name in ("ValueError", "sys.exit", "KeyboardInterrupt", "SystemExit", "Particular", "Rebuilt")
        }
        errors = {name: future.exception(30) for name, future in futures.items()}
        assert [(type(errors[name]), errors[name].args) for name in list(futures)[:4]] == [
            (ValueError, ("no", 7)),
            (SystemExit, (3,)),
            (KeyboardInterrupt, ()),
            (SystemExit, ("out",)),
        ]
        particular, rebuilt = errors["Particular"], errors["Rebuilt"]
        assert isinstance(particular, TaskError)
        assert str(particular) == "mischief.Particular: code 7"
        assert isinstance(rebuilt, mischief.Rebuilt)
        assert (rebuilt.code, rebuilt.why) == (7, "because")
        assert all("in raise_named" in str(error.__cause__) for error in errors.values())
        endless = cluster.submit(mischief.recurse, 0).exception(30)
        assert isinstance(endless, RecursionError)
        assert cluster.submit(abs, -1).result(30) == 1


def test_a_result_that_cannot_travel_is_named(farm: Farm) -> None:
    with farm.connect() as cluster:
        with pytest.raises(ResultUnsendable, match="mischief:give_lock returned a lock that cannot travel"):
            cluster.submit(mischief.give_lock, 1).result(30)
        with pytest.raises(ResultUnsendable, match="mischief:give_generator returned a generator that cannot travel"):
            cluster.submit(mischief.give_generator, 1).result(30)
        assert cluster.submit(abs, -1).result(30) == 1


def resident_peak(pid: int) -> int:
    """Bytes that a process held at most since `forget_peak`."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def test_a_hundred_megabytes_of_print_stay_where_they_are(farm: Farm) -> None:
    with farm.connect() as cluster:
        assert cluster.submit(mischief.print_much, 1).result(30) == 1
        pids = [psutil.Process().pid, *(worker.pid for worker in farm.workers)]
        for pid in pids:
            forget_peak(pid)
        before = {pid: resident_peak(pid) for pid in pids}
        began = time.monotonic()
        future = cluster.submit(mischief.print_much, 100)
        assert future.result(60) == 100
        assert time.monotonic() - began < 30
        assert max(resident_peak(pid) - before[pid] for pid in pids) < 5 * 2**20
        kept = "".join(text for _, text in future.output)
        assert len(kept) < 20_000
        assert "bytes left out" in kept
