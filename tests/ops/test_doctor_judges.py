"""Judgements as functions of plain values: what needs no server, or one that is not here."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oche.errors import WrongCode
from oche.ops import doctor_gearman, doctor_nsq, doctor_redis, doctor_workers
from oche.ops.access import access
from oche.ops.asking import _THEIRS, Answer
from oche.ops.finding import Severity, note, ok, warning, worst
from oche.ops.seen import Seen, places, version, without_password
from oche.queues.memory import MemoryQueue
from oche.wire.fingerprint import check_code, fingerprint
from oche.worker.about import about

TRAITS = MemoryQueue.traits


def seen(url: str, *, exposed: bool = False, durable: bool = True, **settings: str | int) -> Seen:
    return Seen(url=url, traits=replace(TRAITS, durable=durable), settings=settings, exposed=exposed)


@pytest.mark.parametrize(
    ("told", "severity"),
    [({}, Severity.NOTE), ({"mem_queue_size": 0}, Severity.NOTE), ({"mem_queue_size": 10_000}, Severity.WARNING)],
)
def test_what_nsqd_keeps_in_memory(told: dict[str, int], severity: Severity) -> None:
    found = list(doctor_nsq.judge(seen("nsq://127.0.0.1:4150", version="1.3.0", **told)))
    (durability,) = [each for each in found if each.topic == "durability"]
    assert durability.severity is severity


@pytest.mark.parametrize(("pause", "advice"), [(2 * 10**9, True), (10**8, False)])
def test_how_much_nsqd_may_forget_of_a_stream(pause: int, advice: bool) -> None:
    found = doctor_nsq.judge(seen("nsq://127.0.0.1:4150", version="1.3.0", mem_queue_size=0, sync_timeout=pause))
    (durability,) = [each for each in found if each.topic == "durability"]
    assert f"up to {pause / 1e9:g} s of what came" in durability.text
    assert ("-sync-timeout 100ms" in durability.remedy) is advice


def test_nsqd_s_longest_hold_is_told_in_seconds() -> None:
    found = doctor_nsq.judge(seen("nsq://a,b:4152", version="1.3.0", max_msg_size=2**20, max_msg_timeout=60 * 10**9))
    (limits,) = [each for each in found if each.topic == "limits"]
    assert limits.severity is Severity.WARNING
    assert "60 s" in limits.text
    assert "1,048,576 bytes" in limits.text


def test_gearmand_is_never_trusted_with_jobs() -> None:
    found = list(doctor_gearman.judge(seen("gearman://127.0.0.1", version="1.1.19.1")))
    assert {each.topic: each.severity for each in found}["durability"] is Severity.WARNING


def test_redis_settings_that_may_not_be_asked_for() -> None:
    found = list(doctor_redis.judge(seen("redis://127.0.0.1", version="7.2.0", role="master")))
    assert "may not ask" in {each.topic: each.text for each in found}["durability"]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"role": "slave"}, "a replica"),
        ({"redis_mode": "cluster"}, "Redis Cluster"),
        ({"aof_last_write_status": "err"}, "could not write"),
        ({"version": "6.2.1"}, "older than 7"),
    ],
)
def test_redis_that_cannot_be_used(settings: dict[str, str], text: str) -> None:
    found = list(doctor_redis.judge(seen("redis://127.0.0.1", **{"version": "7.0", **settings})))  # type: ignore[arg-type]
    assert [each for each in found if each.severity is Severity.ERROR and text in each.text]


@pytest.mark.parametrize(
    ("url", "exposed", "severity"),
    [
        ("redis://127.0.0.1", False, Severity.OK),
        ("redis://host", True, Severity.WARNING),
        ("redis://:word@host", True, Severity.NOTE),
        ("rediss://:word@host", True, Severity.OK),
        ("rediss://host", True, Severity.WARNING),
        ("amqp://guest:guest@host", True, Severity.WARNING),
        ("amqps://me:word@host", True, Severity.OK),
    ],
)
def test_who_reaches_it(url: str, exposed: bool, severity: Severity) -> None:
    assert access(seen(url, exposed=exposed)).severity is severity


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("nsq://a:4150,b:4152", [("a", 4150), ("b", 4152)]),
        ("redis://me:p@host/0", [("host", 6379)]),
        ("amqp://[::1]", [("::1", 5672)]),
        ("beanstalkd://x", [("x", 11300)]),
        ("beanstalkd://x:no", [("x", 11300)]),
    ],
)
def test_places_of_a_url(url: str, found: list[tuple[str, int]]) -> None:
    assert places(url) == found


@given(st.text("abc:/?&=%1", max_size=12), st.text("xyz0", min_size=1, max_size=8))
def test_no_url_is_shown_with_its_password(path: str, word: str) -> None:
    secret = f"S3-{word}"
    for user in ("", "me"):
        shown = without_password(f"redis://{user}:{secret}@host:1/{path}")
        assert secret not in shown
        assert shown == f"redis://{user}:***@host:1/{path}"


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("7.0.15", Severity.OK),
        ("6.9.9", Severity.ERROR),
        ("10.0", Severity.OK),
        ("1.12+2.gcba80e2", Severity.ERROR),
        (None, Severity.NOTE),
    ],
)
def test_versions_are_compared_as_numbers(text: str | None, severity: Severity) -> None:
    assert version("X", text, (7, 0)).severity is severity


def answer(**changes: str | float) -> Answer:
    return Answer(worker="pi4.7.2", about={**about(), **changes}, sent=0.0, received=1e18)


def severities(*answers: Answer, busy: bool = False) -> list[tuple[str, Severity]]:
    return [(each.topic, each.severity) for each in doctor_workers.judge(answers, busy=busy, patience=5.0)]


def test_workers_that_differ_are_told_apart() -> None:
    assert severities(answer(), answer()) == [("code", Severity.OK)]
    assert severities(answer(oche="0.0.9")) == [("code", Severity.WARNING)]
    assert severities(answer(code="sha256:0")) == [("code", Severity.WARNING)]
    assert severities(answer(python="2.7.18")) == [("code", Severity.WARNING)]
    assert severities(Answer(worker="w", stranger=True, problem="x")) == [("key", Severity.ERROR)]
    assert severities(Answer(worker="w", problem="no module")) == [("code", Severity.ERROR)]
    assert severities(Answer(worker="w"), busy=True) == [("code", Severity.NOTE)]
    assert severities(Answer(worker="w")) == [("workers", Severity.WARNING)]


def test_a_clock_is_off_by_what_the_way_does_not_explain() -> None:
    assert doctor_workers.skew_of(10.5, 10.0, 11.0) == 0.0
    assert doctor_workers.skew_of(7.0, 10.0, 11.0) == 3.0
    assert doctor_workers.skew_of(15.0, 10.0, 11.0) == 4.0
    late = Answer(worker="w", about={**about(), "time": 0.0}, sent=100.0, received=101.0)
    assert severities(late) == [("clock", Severity.WARNING)]


def test_the_fingerprint_is_found_in_the_words_of_the_refusal() -> None:
    with pytest.raises(WrongCode) as refused:
        check_code("oche.worker.about:about", "sha256:other", about)
    found = _THEIRS.search(str(refused.value))
    assert found is not None
    assert found[1] == fingerprint(about)


def test_the_worst_counts() -> None:
    assert worst([]) is Severity.OK
    assert worst([ok("a", "b"), warning("a", "b", "c"), note("a", "b")]) is Severity.WARNING
