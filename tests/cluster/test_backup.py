"""When a job is put again."""

from __future__ import annotations

from dataclasses import dataclass

from oche.cluster.backup import COPIES, PATIENCE, Backup
from oche.queues.seam import TubeStats


@dataclass
class Out:
    put_at: float = 0.0
    due_at: float = 0.0
    copies: int = 1
    expected: float | None = None


def stats(ready: int = 0, reserved: int = 0, delayed: int = 0, waiting: int = 0) -> TubeStats:
    return TubeStats(ready, reserved, delayed, 0, watching=2, waiting=waiting)


def test_what_the_broker_forgot_is_put_again_at_the_second_look() -> None:
    backup, jobs = Backup(), [Out(), Out()]
    assert backup.again(jobs, stats(), 1.0) == []
    assert backup.again(jobs, stats(), 1.5) == jobs


def test_an_outcome_between_the_looks_starts_them_over() -> None:
    backup, jobs = Backup(), [Out()]
    assert backup.again(jobs, stats(), 1.0) == []
    backup.progress()
    assert backup.again(jobs, stats(), 1.5) == []
    assert backup.again(jobs, stats(), 2.0) == jobs


def test_a_job_put_after_the_first_look_is_not_lost_yet() -> None:
    backup, old, new = Backup(), Out(), Out(put_at=1.2)
    assert backup.again([old], stats(), 1.0) == []
    assert backup.again([old, new], stats(), 1.5) == [old]


def test_jobs_that_are_there_are_left_alone() -> None:
    backup, jobs = Backup(), [Out(), Out(), Out()]
    for now in range(100):
        assert backup.again(jobs, stats(ready=1, reserved=1, delayed=1), float(now)) == []


def test_a_late_job_gets_a_copy_when_slots_idle_and_only_then() -> None:
    backup, job = Backup(), Out(expected=0.5)
    late = PATIENCE + 0.1
    assert backup.again([job], stats(reserved=1), late) == []
    assert backup.again([job], stats(reserved=1, waiting=1), late - 0.2) == []
    assert backup.again([job], stats(reserved=1, waiting=1), late) == [job]


def test_copies_for_being_late_are_bounded_and_wait_longer_each_time() -> None:
    backup, job = Backup(), Out(expected=0.1, copies=2)
    assert backup.again([job], stats(reserved=1, waiting=1), PATIENCE + 0.1) == []
    assert backup.again([job], stats(reserved=1, waiting=1), 2 * PATIENCE + 0.1) == [job]
    job.copies = COPIES
    assert backup.again([job], stats(reserved=1, waiting=1), 1e9) == []


def test_where_no_lease_ends_a_silent_holder_a_job_of_unknown_length_is_late_in_the_end() -> None:
    backup, job = Backup(30.0), Out()
    assert backup.again([job], stats(reserved=1, waiting=1), 119.0) == []
    assert backup.again([job], stats(reserved=1), 121.0) == []
    assert backup.again([job], stats(reserved=1, waiting=1), 121.0) == [job]


def test_a_job_of_unknown_length_or_put_with_a_delay_is_not_late() -> None:
    backup = Backup()
    assert backup.again([Out()], stats(reserved=1, waiting=1), 1e9) == []
    assert backup.again([Out(expected=0.1, due_at=100.0)], stats(delayed=1, waiting=1), 50.0) == []
