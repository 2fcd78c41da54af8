"""The doctor: looks at a broker, its workers and this machine, and says what is so, how bad that is, and the remedy.

    url -> find_queue -> round trip, inspect  -> Seen ------> doctor_REDIS.judge ---+
                      -> snapshot -> presence, buried jobs -------------------------+--> Diagnosis
                      -> a question for each worker -> Answer -> doctor_workers ----+
    this machine      -> key, journals, versions -----------------------------------+

A judge is a function of plain values: a new broker is a driver with `inspect`, one file of judgements, one line here.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from oche.engines.opening import schemes
from oche.errors import Disconnected, QueueError
from oche.ops import (
    doctor_beanstalkd,
    doctor_gearman,
    doctor_here,
    doctor_nsq,
    doctor_rabbitmq,
    doctor_redis,
    doctor_sqlite,
    doctor_workers,
)
from oche.ops.access import access
from oche.ops.asking import Asking
from oche.ops.finding import Diagnosis, Finding, error, note, ok, warning
from oche.ops.seen import Seen, exposed, without_password
from oche.queues.opening import find_queue
from oche.queues.seam import Queue
from oche.watch.snapshot import snapshot
from oche.wire.names import Farm, split_farm
from oche.wire.signing import Signer

#: Seconds that workers are given to answer, and a job of ours to come back.
PATIENCE = 5.0
#: Round trips, of which the median is told.
TRIPS = 15

Judge = Callable[[Seen], Iterable[Finding]]

#: Scheme -> who judges what `inspect` told. A scheme that is not here is judged by its traits alone.
JUDGES: dict[str, Judge] = {
    "sqlite": doctor_sqlite.judge,
    "beanstalkd": doctor_beanstalkd.judge,
    "redis": doctor_redis.judge,
    "rediss": doctor_redis.judge,
    "valkey": doctor_redis.judge,
    "amqp": doctor_rabbitmq.judge,
    "amqps": doctor_rabbitmq.judge,
    "nsq": doctor_nsq.judge,
    "nsq+lookupd": doctor_nsq.judge,
    "gearman": doctor_gearman.judge,
}


def diagnose(url: str, *, patience: float = PATIENCE) -> Diagnosis:
    """Looks at everything behind a URL, engines too, within seconds; changes nothing and leaves nothing behind.

    Raises `ConfigError` for a URL that cannot be right; what is not well is in the findings.
    """
    shown = without_password(url)
    here = [doctor_here.versions(), *doctor_here.journals()]
    if urlsplit(url).scheme in ("local", *schemes()):
        try:
            return Diagnosis(url=shown, reachable=True, findings=(*doctor_here.engine(url), *here))
        except Disconnected as wrong:
            return _unreachable(shown, wrong, here)
    address, farm = split_farm(url)
    file = urlsplit(address).scheme == "sqlite"
    seen_by_others = not file and exposed(address)
    signer, of_key = doctor_here.key(seen_by_others)
    here.append(of_key)
    try:
        queue = find_queue(address)
    except Disconnected as wrong:
        return _unreachable(shown, wrong, here)
    with queue:
        findings = [*_broker(queue, farm, address, seen_by_others), *_farm(queue, farm, shown, signer, patience)]
    return Diagnosis(url=shown, reachable=True, findings=(*findings, *here))


def _unreachable(shown: str, wrong: Disconnected, here: list[Finding]) -> Diagnosis:
    text, _, remedy = str(wrong).rpartition("; ")
    return Diagnosis(url=shown, reachable=False, findings=(error("reachable", text, remedy), *here))


def _broker(queue: Queue, farm: Farm, url: str, seen_by_others: bool) -> Iterator[Finding]:
    try:
        before = queue.inspect()
        yield _round_trip(queue, farm)
        sent = time.time()
        settings = queue.inspect()
        received = time.time()
    except QueueError as wrong:
        yield _broken("reachable", wrong)
        return
    seen = Seen(url=url, traits=queue.traits, settings=settings, before=before, exposed=seen_by_others)
    if seen.scheme == "beanstalkd":
        seen = replace(seen, command=doctor_beanstalkd.command(url, settings))
    yield from JUDGES.get(seen.scheme, _by_traits)(seen)
    if told := settings.get("time"):
        yield _clock(doctor_workers.skew_of(float(told), sent, received))


def _round_trip(queue: Queue, farm: Farm) -> Finding:
    """Jobs of ours are put, taken and deleted, in a tube that nobody else uses."""
    tube = f"{farm.name}.doctor"
    taken = []
    for _ in range(TRIPS):
        began = time.perf_counter()
        queue.put(tube, b'{"type":"doctor"}', priority=0)
        delivery = queue.reserve([tube], PATIENCE)
        if delivery is None:
            return error("reachable", f"a job that was put did not come back in {PATIENCE:g} s", "restart the broker")
        queue.delete(delivery)
        taken.append(time.perf_counter() - began)
    return ok("reachable", f"it answers; a job is put, taken and deleted in {statistics.median(taken) * 1e3:.2f} ms")


def _by_traits(seen: Seen) -> Iterator[Finding]:
    if seen.traits.durable:
        yield ok("durability", "its driver says that jobs survive a restart")
    else:
        yield warning("durability", "a restart loses every job; clients that live put theirs again", "see its settings")
    yield access(seen)


def _clock(skew: float) -> Finding:
    if skew > doctor_workers.SKEW:
        text = f"the clock of the server is off by {skew:,.0f} s or more against this one"
        return warning("clock", text, "run chrony or ntpd on both")
    return ok("clock", "the server's is ours")


def _farm(queue: Queue, farm: Farm, url: str, signer: Signer | None, patience: float) -> Iterator[Finding]:
    try:
        seen = snapshot(queue, farm)
        yield from doctor_workers.presence(seen, url)
        if signer is not None and seen.workers:
            answers = Asking(queue, signer, farm).ask([node.name for node in seen.workers], patience)
            busy = seen.work.waiting == 0
            yield from doctor_workers.judge(answers, busy=busy, patience=patience)
        elif seen.workers:
            yield note("code", "without a key here the workers cannot be asked what they are")
        yield from _buried(queue, farm, url)
    except QueueError as wrong:
        yield _broken("workers", wrong)


def _buried(queue: Queue, farm: Farm, url: str) -> Iterator[Finding]:
    # Workers' own tubes hold questions of doctors, and no work of anybody's.
    tubes = [tube for tube in queue.tubes(f"{farm.name}.") if not tube.startswith(farm.node_prefix)]
    for tube in dict.fromkeys([farm.work, *tubes]):
        if count := queue.stats(tube).buried:
            one = url if tube == farm.work else f"{url} --tube {tube}"
            why = f"`oche jobs peek {one} --state buried` says why; " if queue.traits.peek else ""
            text = f"{count:,} {'job was' if count == 1 else 'jobs were'} set aside in {tube}"
            yield warning("buried", text, f"{why}`oche jobs kick {one}` tries again")


def _broken(topic: str, wrong: QueueError) -> Finding:
    text, _, remedy = str(wrong).rpartition("; ")
    return error(topic, text or remedy, remedy if text else "see the server's log")
