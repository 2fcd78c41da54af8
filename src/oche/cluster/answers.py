"""What comes back from workers, as it is read and shown."""

from __future__ import annotations

import sys

import msgspec

from oche.cluster.ticket import Ticket
from oche.errors import BadSignature, StoreError, ValueLost
from oche.stores.seam import Store
from oche.wire.outcome import Cause, Failure, Outcome, decode_outcome
from oche.wire.signing import Signer
from oche.wire.stored import check_digest


def read_outcome(signer: Signer, data: bytes) -> tuple[Outcome, BadSignature | None, bool]:
    """An outcome, the error that its caller should see instead if it is not signed as it must be, and if it was signed.

    Raises `BadMessage` for what is no outcome at all.
    """
    try:
        body, signed = signer.open(data)
        if signed or not signer.signed:
            return decode_outcome(body), None, signed
        reason = "it is not signed"
    except BadSignature as error:
        body, reason = data.rpartition(b"\n")[0] or data, str(error)
    outcome = decode_outcome(body)
    refusal = BadSignature(
        f"the answer of {outcome.worker or 'a worker'} is not signed with this cluster's key ({reason}); "
        "give every machine the same key: `oche key` shows it, OCHE_KEY sets it"
    )
    return outcome, refusal, False


def whole(outcome: Outcome, store: Store | None) -> Outcome:
    """All of an outcome that came by way of the store; its calls `LOST` where it cannot be had."""
    stored = outcome.stored
    if stored is None:
        return outcome
    try:
        if store is None:
            raise ValueLost("the result went to a store, and this client has none; give `connect` the store= it had")
        data = store.accept(stored.name)
        check_digest(data, stored)
        return decode_outcome(bytes(data))
    except StoreError as error:
        lost = Failure(cause=Cause.LOST, message=str(error), attempts=outcome.attempt)
        values = msgspec.Raw(b"[" + b",".join([b"null"] * outcome.count) + b"]")
        return msgspec.structs.replace(outcome, values=values, failures=dict.fromkeys(range(outcome.count), lost))


def loss(outcome: Outcome) -> str:
    """What was lost of a job, its arguments or its values; empty if nothing was."""
    return next((failure.message for failure in outcome.failures.values() if failure.cause is Cause.LOST), "")


def echo(ticket: Ticket) -> None:
    """Prints what a job printed, each line with the worker's name in front."""
    for stream, text in ticket.output:
        file = sys.stderr if stream == "stderr" else sys.stdout
        for line in text.splitlines():
            print(f"[{ticket.worker}] {line}", file=file)
