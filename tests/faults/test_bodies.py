"""Bodies that nobody should send, keys that do not match, and code that is not the same on both sides."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mischief
import msgspec
import pytest

from farms import BOUND, Farm, until
from oche.errors import BadSignature, TooLarge, WrongCode
from oche.queues.opening import open_queue
from oche.queues.seam import Peeked, Queue, State
from oche.wire.codec import decode_values, encode_args
from oche.wire.job import VERSION, Job, encode_job
from oche.wire.names import Farm as Names
from oche.wire.outcome import Cause, Outcome, decode_outcome
from oche.wire.signing import Signer, load_key
from oche.wire.task import reference

pytestmark = pytest.mark.parametrize(
    "farm", ["sqlite", "beanstalkd", "redis", "rabbitmq", "gearman", "nsq"], indirect=True
)
NAMES = Names()
RUN = "byhand"


class Hand:
    """Puts bodies into the work tube by hand, and reads what comes of them."""

    def __init__(self, farm: Farm) -> None:
        self.queue: Queue = open_queue(farm.url)
        self.signer = Signer(load_key(local=True))
        self._serial = 0
        self._unseen: list[bytes] = []  # buried, in a broker that shows nothing of it

    def job(self, task: str, *arguments: object, **changes: object) -> Job:
        self._serial += 1
        job = Job(
            v=VERSION, task=task, run=RUN, id=f"hand-{self._serial}", attempt=0, count=1,
            calls=msgspec.Raw(encode_args([arguments])), fingerprint="", reply=NAMES.reply(RUN),
        )  # fmt: skip
        return msgspec.structs.replace(job, **changes)

    def put(self, body: bytes) -> None:
        self.queue.put(NAMES.work, body)

    def answer(self, job: Job) -> Outcome:
        """The next outcome, which must be that of this job."""
        delivery = self.queue.reserve([NAMES.reply(RUN)], BOUND)
        assert delivery is not None, f"no answer for {job.task}"
        self.queue.delete(delivery)
        body, _ = self.signer.open(delivery.body)
        outcome = decode_outcome(body)
        assert (outcome.job, outcome.count) == (job.id, 1)
        return outcome

    def refused(self, job: Job) -> str:
        """The reason in the answer, which must be a refusal."""
        failure = self.answer(job).failures[0]
        assert failure.cause is Cause.REFUSED
        return failure.message

    def see_buried(self, body: bytes) -> None:
        """Waits until this body is buried, and takes it away if the broker lets us; else `exhume` has to."""
        if self.queue.traits.peek:
            peeked = until(lambda: self.queue.peek(NAMES.work, State.BURIED), "a buried job")
            assert isinstance(peeked, Peeked)
            assert peeked.body == body
            assert self.queue.discard(peeked.id)
        else:
            self._unseen.append(body)
            until(lambda: self.queue.stats(NAMES.work).buried == len(self._unseen), "another buried job")

    def exhume(self, farm: Farm) -> None:
        """At the end, when the workers have done what was asked: looks at what could not be seen before."""
        if self._unseen:
            farm.end_workers()
            assert self.queue.kick(NAMES.work, 1000) == len(self._unseen)
            found = []
            while got := self.queue.reserve_many([NAMES.work], 1000, 0.0):
                found += [delivery.body for delivery in got]
                self.queue.delete_many(got)
            assert sorted(found) == sorted(self._unseen)

    def nothing_left(self) -> bool:
        stats = self.queue.stats(NAMES.work)
        return not (stats.ready or stats.reserved or stats.delayed or stats.buried)


@pytest.fixture
def hand(farm: Farm) -> Iterator[Hand]:
    hand = Hand(farm)
    yield hand
    hand.queue.close()


def good_work(farm: Farm) -> None:
    with farm.connect() as cluster:
        assert list(cluster.map(mischief.lesson, range(50))) == [x * x for x in range(50)]


def test_no_body_harms_a_worker(farm: Farm, hand: Hand, tmp_path: Path) -> None:
    worker = farm.worker("--slots", "2")
    path = tmp_path / "touched"
    seal = hand.signer.seal
    for nonsense in (b"", b"\n", b"nonsense", b"{}", b"[" * 60_000, bytes(range(256)), b'{"type":"job","v":1}'):
        for body in (nonsense, seal(nonsense)) if len(nonsense) < 60_000 else (nonsense,):
            hand.put(body)
            hand.see_buried(body)
    ref = reference(mischief.touch)
    job = hand.job(ref.name, str(path), fingerprint=ref.fingerprint)
    right = seal(encode_job(job))
    for body, reason in (
        (encode_job(job), "unsigned"),
        (Signer(b"another key".ljust(32)).seal(encode_job(job)), "signed with another key"),
        (right.replace(b'"attempt":0', b'"attempt":1'), "signed with another key"),
        (right[:-1] + (b"0" if right[-1:] != b"0" else b"1"), "signed with another key"),
        (seal(encode_job(msgspec.structs.replace(job, v=VERSION + 1))), "version"),
    ):
        hand.put(body)
        assert reason in hand.refused(job)
        hand.see_buried(body)
    system = hand.job("os:system", f"touch {path}")
    hand.put(encode_job(system))
    assert "unsigned" in hand.refused(system)
    hand.see_buried(encode_job(system))
    for task, fingerprint, cause in (
        ("mischief:no_such_task", "sha256:0", Cause.NOT_FOUND),
        ("no_such_module:task", "sha256:0", Cause.NOT_FOUND),
        (ref.name, "sha256:0123456789abcdef", Cause.WRONG_CODE),
    ):
        other = hand.job(task, str(path), fingerprint=fingerprint)
        hand.put(seal(encode_job(other)))
        failure = hand.answer(other).failures[0]
        assert failure.cause is cause
        assert task.partition(":")[0] in failure.message
    assert not path.exists()
    hand.put(right)
    assert decode_values(hand.answer(job).values, trusted=True) == [1]
    assert path.exists()
    good_work(farm)
    assert worker.poll() is None
    hand.exhume(farm)
    until(hand.nothing_left, "the work tube is empty")


def test_a_body_over_the_limit_is_refused_at_once_or_buried(farm: Farm, hand: Hand) -> None:
    farm.worker("--slots", "2")
    body, limit = b"x" * 5_000_000, hand.queue.traits.max_body
    if limit is None or limit >= len(body):
        hand.put(body)
        hand.see_buried(body)
    else:
        with pytest.raises(TooLarge, match=r"5000000"):
            hand.put(body)
        with farm.connect() as cluster, pytest.raises(TooLarge, match=r"-z BYTES|max-msg-size"):
            cluster.submit(len, "x" * 2 * limit)
    good_work(farm)
    hand.exhume(farm)


def test_an_unsigned_job_runs_marked_tasks_of_named_modules_only(farm: Farm, hand: Hand, tmp_path: Path) -> None:
    path = tmp_path / "touched"
    farm.worker("--slots", "2", "--unsigned", "--tasks", "mischief")
    for task, argument in (
        ("os:system", f"touch {path}"),
        ("posix:system", f"touch {path}"),
        ("mischief:os.system", f"touch {path}"),
        ("mischief:touch", str(path)),
        ("builtins:eval", f"open({str(path)!r}, 'w')"),
    ):
        job = hand.job(task, argument)
        hand.put(encode_job(job))
        assert hand.refused(job)
        hand.see_buried(encode_job(job))
    assert not path.exists()
    job = hand.job("mischief:lesson", 12)
    hand.put(encode_job(job))
    outcome = hand.answer(job)
    assert not outcome.failures
    assert decode_values(outcome.values, trusted=False) == [144]
    good_work(farm)
    hand.exhume(farm)


def test_another_key_is_named_in_bounded_time(farm: Farm) -> None:
    farm.worker("--slots", "2", OCHE_KEY="5a" * 32)
    with farm.connect() as cluster:
        began = time.monotonic()
        error = cluster.submit(mischief.lesson, 12).exception(20)
        assert isinstance(error, BadSignature)
        assert "OCHE_KEY" in str(error)
        with pytest.raises(BadSignature):
            list(cluster.map(mischief.lesson, range(10)))
        assert time.monotonic() - began < 20


CLIENT = """
import sys, oche, chapter
with oche.connect(sys.argv[1]) as cluster:
    print([cluster.submit(chapter.answer, x).result(30) for x in range(4)])
"""


def client(farm: Farm, folder: Path) -> subprocess.CompletedProcess[str]:
    """A program of its own, which imports the task from this folder."""
    return subprocess.run(
        [sys.executable, "-c", CLIENT, farm.url],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True, timeout=BOUND,
    )  # fmt: skip


def test_a_worker_that_loaded_old_code_runs_new_jobs_with_new_code(farm: Farm) -> None:
    worker = farm.worker("--slots", "2")  # in the farm's folder, where the task is
    module = farm.folder / "chapter.py"
    for factor in (1, 22, 333):
        module.write_text(f"def answer(x): return {factor} * x\n")
        done = client(farm, farm.folder)
        assert done.stdout == f"{[factor * x for x in range(4)]}\n", done.stderr
    assert worker.poll() is None


def test_a_worker_with_other_code_refuses(farm: Farm, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, factor in ((here, 1), (there, 22)):
        folder.mkdir()
        (folder / "chapter.py").write_text(f"def answer(x): return {factor} * x\n")
    farm.worker("--slots", "2", folder=there)
    done = client(farm, here)
    assert done.returncode == 1
    assert f"{WrongCode.__module__}.{WrongCode.__name__}: chapter:answer" in done.stderr
    assert str(there / "chapter.py") in done.stderr
    assert done.stdout == ""
