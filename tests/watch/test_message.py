"""`read_message` of jobs, outcomes and rubbish, by whomever they are signed."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oche.queues.seam import Peeked
from oche.watch.message import Signature, read_message
from oche.wire.job import VERSION, Job, encode_job
from oche.wire.outcome import Cause, Failure, Outcome, encode_outcome
from oche.wire.signing import Signer

SIGNER = Signer(b"k" * 32)
JOB = Job(
    v=VERSION,
    task="lesson:double",
    run="night",
    id="abc-1",
    attempt=3,
    count=2,
    calls=msgspec.Raw(b'[[1],{"kwargs":{"x":"two"}}]'),
    fingerprint="sha256:00",
    reply="oche.reply.night",
    code="AAAA",
    reason="it died",
)


def test_a_job() -> None:
    message = read_message(Peeked("7", SIGNER.seal(encode_job(JOB))), SIGNER)
    assert (message.broker_id, message.kind, message.signature) == ("7", "job", Signature.GOOD)
    assert (message.task, message.run, message.id, message.attempt) == ("lesson:double", "night", "abc-1", 3)
    assert (message.calls, message.count) == ([[1], {"kwargs": {"x": "two"}}], 2)
    assert (message.by_value, message.reason) == (True, "it died")
    assert message.text.encode() == encode_job(JOB)


def test_an_outcome() -> None:
    failure = Failure(cause=Cause.CRASHED, message="SIGKILL")
    outcome = Outcome(
        v=VERSION, job="abc-1", run="night", attempt=1, first=0, count=1, values=msgspec.Raw(b"[null]"),
        failures={0: failure}, worker="lab:1/0",
    )  # fmt: skip
    message = read_message(Peeked("8", encode_outcome(outcome)), SIGNER)
    assert (message.kind, message.signature, message.id) == ("outcome", Signature.UNSIGNED, "abc-1")
    assert (message.worker, message.reason) == ("lab:1/0", "crashed: SIGKILL")


@pytest.mark.parametrize(
    ("signer", "expected"),
    [
        (SIGNER, Signature.GOOD),
        (Signer(b"other" * 8), Signature.WRONG),
        (Signer(None), Signature.UNCHECKED),
    ],
)
def test_signatures(signer: Signer, expected: Signature) -> None:
    sealed = SIGNER.seal(encode_job(JOB))
    message = read_message(Peeked("1", sealed), signer)
    assert message.signature is expected
    assert message.task == "lesson:double"


def test_a_changed_message_is_shown_as_such() -> None:
    sealed = SIGNER.seal(encode_job(JOB)).replace(b"double", b"triple")
    message = read_message(Peeked("1", sealed), SIGNER)
    assert (message.task, message.signature) == ("lesson:triple", Signature.WRONG)


def test_a_bomb_of_brackets_is_only_text() -> None:
    bomb = encode_job(JOB).replace(b'[[1],{"kwargs":{"x":"two"}}]', b"[" * 100_000 + b"]" * 100_000)
    message = read_message(Peeked("1", bomb), SIGNER)
    assert message.size == len(bomb)
    assert message.signature is Signature.UNSIGNED


@given(st.binary(max_size=300))
def test_rubbish_is_shown_as_it_is(data: bytes) -> None:
    message = read_message(Peeked("1", data), SIGNER)
    assert message.kind == "unknown"
    assert message.reason
    assert message.size == len(data)
