"""What a worker refuses, and that it lives on."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
import worker_chores as chores
from worker_bench import Bench, eventually

from oche.queues.seam import State
from oche.wire.job import encode_job
from oche.wire.outcome import Cause
from oche.wire.signing import Signer


def refused(bench: Bench, data: bytes) -> None:
    """Puts it and waits until it is buried, as it is."""
    bench.queue.put(bench.farm.work, data)
    eventually(lambda: bench.queue.stats(bench.farm.work).buried == 1)
    peeked = bench.queue.peek(bench.farm.work, State.BURIED)
    assert peeked is not None
    assert peeked.body == data
    assert bench.queue.discard(peeked.id)


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"nonsense", b"{}", b'{"type":"job"}', b"[" * 100_000, bytes(range(256)), b'{"id":1,"reply":2}'],
    ids=lambda data: repr(data[:12]),
)
def test_nonsense_is_buried(data: bytes) -> None:
    with Bench() as bench:
        refused(bench, data)
        refused(bench, bench.signer.seal(data))
        assert bench.one(chores.add, 1, 2) == 3


def test_strangers_are_refused_and_told(tmp_path: Path) -> None:
    path = tmp_path / "touched"
    with Bench() as bench:
        job = bench.job(chores.mark, [(str(path),), (str(path),)])
        good = bench.signer.seal(encode_job(job))
        for data in (
            encode_job(job),  # unsigned
            Signer(b"another key".ljust(32)).seal(encode_job(job)),
            good.replace(b'"attempt":0', b'"attempt":1'),
            bench.signer.seal(encode_job(msgspec.structs.replace(job, v=2))),
            bench.signer.seal(encode_job(msgspec.structs.replace(job, count=3))),
        ):
            refused(bench, data)
            count = 3 if b'"count":3' in data else 2
            values = bench.collect(msgspec.structs.replace(job, count=count))
            assert [value.cause for value in values] == [Cause.REFUSED] * count
        assert not path.exists()


def test_an_outcome_goes_only_to_tubes_for_outcomes() -> None:
    with Bench() as bench:
        job = bench.job(chores.add, [(1,)], reply=bench.farm.work)
        refused(bench, bench.signer.seal(encode_job(job)))
        refused(bench, encode_job(job))


def test_an_unsigned_worker_runs_marked_tasks_only(tmp_path: Path) -> None:
    path = tmp_path / "touched"
    with Bench(unsigned=True, modules=("worker_chores",)) as bench:
        for task, argument in (
            ("os:system", f"touch {path}"),
            ("posix:system", f"touch {path}"),
            ("worker_chores:os.system", f"touch {path}"),
            ("worker_chores:Path.touch", str(path)),
            ("worker_chores:mark", str(path)),
            ("worker_chores:subprocess.run", f"touch {path}"),
            ("builtins:eval", f"open({str(path)!r}, 'w')"),
        ):
            job = bench.job(task, [(argument,)])
            refused(bench, encode_job(job))
            failure = bench.collect(job)[0]
            assert failure.cause is Cause.REFUSED, task
        by_value = bench.job(lambda: os.system(f"touch {path}"), [()])
        refused(bench, encode_job(by_value))
        assert bench.collect(by_value)[0].cause is Cause.REFUSED
        pickled = b'[[{"$pickle": "gASVAAAAAAAAAC4=", "repr": ""}]]'
        job = bench.job("worker_chores:lesson", [(1,)], raw=pickled)
        refused(bench, encode_job(job))
        assert bench.collect(job)[0].cause is Cause.REFUSED
        assert not path.exists()

        lesson = bench.job("worker_chores:lesson", [(3,), (4,)])
        bench.queue.put(bench.farm.work, encode_job(lesson))
        assert bench.collect(lesson) == [9, 16]
        assert bench.one(chores.mark, str(path)) == "x"  # signed
        assert path.exists()


def test_an_unsigned_job_that_is_put_back_stays_unsigned(tmp_path: Path) -> None:
    path = tmp_path / "ran"
    with Bench(unsigned=True, modules=("worker_chores",)) as bench:
        job = bench.job("worker_chores:stumble", [(str(path), 99)], retries=9)
        bench.queue.put(bench.farm.work, encode_job(job))
        eventually(lambda: bench.queue.peek(bench.farm.work, State.DELAYED))
        peeked = bench.queue.peek(bench.farm.work, State.DELAYED)
        assert peeked is not None
        assert bench.signer.open(peeked.body)[1] is False


def test_without_a_key_outcomes_are_unsigned() -> None:
    signer = Signer(None)
    with Bench(signer=signer, unsigned=True, modules=("worker_chores",)) as bench:
        assert bench.one("worker_chores:lesson", 5) == 25
