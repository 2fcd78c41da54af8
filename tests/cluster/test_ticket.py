"""The first answer of each call is kept, whatever else comes."""

from __future__ import annotations

import random

import msgspec
import pytest

from oche.cluster.future import Future
from oche.cluster.ticket import Ticket
from oche.errors import BadMessage, Crashed
from oche.wire.codec import encode_values
from oche.wire.job import VERSION, Job
from oche.wire.outcome import Cause, Failure, Outcome


def ticket(count: int) -> Ticket:
    job = Job(
        v=VERSION, task="m:f", run="r", id="j", attempt=0, count=count,
        calls=msgspec.Raw(b"[]"), fingerprint="", reply="x",
    )  # fmt: skip
    made = Ticket(job, b"", items=count)
    made.futures = [Future(lambda future: None) for _ in range(count)]
    return made


def outcome(first: int, values: bytes, failures: dict[int, Failure] | None = None) -> Outcome:
    count = len(msgspec.json.decode(values))
    return Outcome(
        v=VERSION, job="j", run="r", attempt=1, first=first, count=count,
        values=msgspec.Raw(values), failures=failures or {},
    )  # fmt: skip


def results(ticket: Ticket) -> list[object]:
    return [future.result(0) for future in ticket.futures if future is not None]


@pytest.mark.parametrize("seed", range(50))
def test_parts_in_any_order_with_duplicates_give_each_call_once(seed: int) -> None:
    rng = random.Random(seed)
    count = rng.randrange(1, 30)
    out, resolved = ticket(count), []
    for place, future in enumerate(out.futures):
        assert future is not None
        future.add_done_callback(lambda _, place=place: resolved.append(place))
    done = 0
    out.on_done = lambda _: resolved.append("done")
    while not out.done:
        first = rng.randrange(count)
        size = rng.randrange(1, count - first + 1)
        copy = rng.randrange(1000)  # another value each time: the first must win
        values = [(place, copy) for place in range(first, first + size)]
        fresh = out.take(outcome(first, encode_values(values)), trusted=True)
        done += len(fresh)
        out.deliver(fresh)
    assert done == count
    assert resolved.count("done") == 1
    assert sorted(place for place in resolved if place != "done") == list(range(count))
    assert [value[0] for value in results(out)] == list(range(count))  # type: ignore[index]
    before = results(out)
    assert out.take(outcome(0, encode_values([None] * count)), trusted=True) == []
    assert results(out) == before


def test_a_value_that_cannot_be_read_here_hides_no_other() -> None:
    out = ticket(3)
    out.deliver(out.take(outcome(0, b'[1,{"$dataclass":"no_such_module:Thing","fields":{}},3]'), trusted=True))
    assert out.done
    assert out.futures[0] is not None
    assert out.futures[0].result(0) == 1
    assert out.futures[1] is not None
    assert isinstance(out.futures[1].exception(0), BadMessage)


def test_failures_are_by_place_from_first() -> None:
    out = ticket(3)
    out.deliver(out.take(outcome(0, b"[1]"), trusted=True))
    crash = Failure(cause=Cause.CRASHED, message="SIGKILL")
    out.deliver(out.take(outcome(1, b"[2,null]", {1: crash}), trusted=True))
    assert out.done
    assert out.futures[2] is not None
    assert isinstance(out.futures[2].exception(0), Crashed)


def test_places_that_the_job_does_not_have_are_passed_over() -> None:
    out = ticket(2)
    assert out.take(outcome(1, b"[1,2,3]"), trusted=True) == [1]
    assert not out.done
    assert out.take(outcome(0, b"[0]"), trusted=True) == [0]
    assert out.done
