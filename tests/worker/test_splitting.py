"""The parts of a job or an outcome cover every call exactly once, with its own arguments or value."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oche.errors import BadMessage
from oche.wire.job import VERSION, Job
from oche.wire.outcome import Cause, Failure, Outcome, encode_outcome
from oche.worker import splitting


def make_job(count: int, *, first: int = 0, attempt: int = 0) -> Job:
    calls = msgspec.json.encode([[first + i] for i in range(count)])
    return Job(
        v=VERSION, task="m:f", run="r", id="j", attempt=attempt, count=count, calls=msgspec.Raw(calls),
        fingerprint="", reply="oche.reply.r", first=first,
    )  # fmt: skip


def make_outcome(count: int, failed: set[int], *, first: int = 0) -> Outcome:
    return Outcome(
        v=VERSION, job="j", run="r", attempt=1, first=first, count=count, seconds=1.0, output=[("stdout", "text")],
        values=msgspec.Raw(msgspec.json.encode([None if i in failed else first + i for i in range(count)])),
        failures={i: Failure(cause=Cause.RAISED, message=str(first + i)) for i in failed},
    )  # fmt: skip


def places(jobs: list[Job]) -> list[int]:
    """The places covered, after a check that each call still is the one of its place."""
    found = []
    for job in jobs:
        calls = [msgspec.json.decode(call) for call in splitting.raw_calls(job)]
        assert calls == [[job.first + i] for i in range(job.count)]
        found += [job.first + i for i in range(job.count)]
    return found


@given(st.data(), st.integers(1, 60), st.integers(0, 1000))
def test_around_covers_every_call_once(data: st.DataObject, count: int, first: int) -> None:
    index = data.draw(st.integers(0, count - 1))
    jobs = splitting.around(make_job(count, first=first, attempt=1), index, 2, 1)
    assert sorted(places(jobs)) == list(range(first, first + count))
    assert [(job.first, job.count) for job in jobs if job.attempt == 2] == [(first + index, 1)]
    assert all(job.attempt == 1 for job in jobs if job.first != first + index)
    assert len(jobs) <= 3


@given(st.integers(1, 60), st.integers(0, 1000))
def test_singles_cover_every_call_once(count: int, first: int) -> None:
    jobs = splitting.singles(make_job(count, first=first), 2)
    assert places(jobs) == list(range(first, first + count))
    assert {(job.count, job.attempt) for job in jobs} == {(1, 2)}


@given(st.integers(0, 60), st.sets(st.integers(0, 59)))
def test_runs_are_the_rest_in_the_fewest_stretches(count: int, without: set[int]) -> None:
    without = {i for i in without if i < count}
    spans = splitting.runs(count, without)
    assert [i for span in spans for i in span] == [i for i in range(count) if i not in without]
    assert all(a.stop < b.start for a, b in pairwise(spans))


@given(st.data(), st.integers(1, 40), st.integers(0, 100))
def test_slices_of_an_outcome_keep_each_value_and_failure(data: st.DataObject, count: int, first: int) -> None:
    failed = data.draw(st.sets(st.integers(0, count - 1)))
    away = data.draw(st.sets(st.integers(0, count - 1)))
    parts = splitting.slice_outcome(make_outcome(count, failed, first=first), splitting.runs(count, away))
    seen = {}
    for part in parts:
        values = msgspec.json.decode(part.values)
        assert len(values) == part.count
        for i, value in enumerate(values):
            seen[part.first + i] = part.failures[i].message if i in part.failures else value
    expected = {first + i: str(first + i) if i in failed else first + i for i in range(count) if i not in away}
    assert seen == expected
    assert sum(bool(part.output) for part in parts) == bool(parts)
    assert sum(part.seconds for part in parts) == pytest.approx((count - len(away)) / count)


@given(st.integers(1, 30), st.sets(st.integers(0, 29)), st.integers(600, 5000), st.booleans())
def test_an_outcome_shrinks_until_it_fits(count: int, failed: set[int], limit: int, chatty: bool) -> None:
    failed = {i for i in failed if i < count}
    outcome = make_outcome(count, failed)
    if chatty:
        outcome = msgspec.structs.replace(outcome, output=[("stdout", "x" * 20_000)])
    waiting, sent = [outcome], []
    for _ in range(10_000):
        if not waiting:
            break
        one = waiting.pop()
        if len(encode_outcome(one)) <= limit:
            sent.append(one)
        else:
            pieces = splitting.smaller(one, "too large")
            assert pieces
            waiting += pieces
    assert not waiting
    assert sorted(i for one in sent for i in range(one.first, one.first + one.count)) == list(range(count))


def test_a_call_list_that_is_not_what_the_job_says() -> None:
    for calls in (b"[[1]]", b"{}", b"[[1],[2]", b"\xff"):
        with pytest.raises(BadMessage):
            splitting.raw_calls(msgspec.structs.replace(make_job(2), calls=msgspec.Raw(calls)))


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_delays_grow_and_have_an_end(attempt: int, chance: float) -> None:
    delay = splitting.retry_delay(attempt, chance=chance)
    full = min(60.0, 0.25 * 2 ** min(attempt - 1, 30))
    assert full / 2 <= delay <= full


def test_attempts_are_three_unless_more_or_less_are_asked_for() -> None:
    assert splitting.attempts_of(make_job(1)) == 3
    assert splitting.attempts_of(msgspec.structs.replace(make_job(1), retries=7)) == 8
    assert splitting.attempts_of(msgspec.structs.replace(make_job(1), crashes=20)) == 21
    assert splitting.attempts_of(msgspec.structs.replace(make_job(1), crashes=0)) == 1
    assert splitting.attempts_of(msgspec.structs.replace(make_job(1), crashes=0, retries=3)) == 4
