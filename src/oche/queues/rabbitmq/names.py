"""How the queues of a tube are named, what each is declared with, and what a job's message says about the job.

T                 ready jobs, and those that are held
T:watch           no messages; its consumers are the connections that watch T
T:held:1 :2 :4    no messages; a connection that holds five jobs of T consumes from the first and the third
T:buried          jobs that are set aside
T:delay:3000      jobs that go on to T after 3,000 ms
T:long:NUMBER     a job that is held for longer than the broker likes
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import pika

from oche.errors import ConfigError
from oche.queues.seam import DEFAULT_LEASE

#: Priorities up to each of these share a level, so do those above; the broker wants few. DEFAULT_PRIORITY begins one.
LEVELS = (0, 3, 255, 2**16 - 1, 2**24 - 1)
#: Seconds that a queue which is not in use outlives what it was made for.
UNUSED = 60.0
#: Milliseconds until the message of a T:long goes back to T, where its holder does not have it.
BACK = 2000
#: Milliseconds that the broker can wait for.
_LONGEST = 2**32 - 1

_HANDED, _LEASE, _DUE = "oche-handed-out", "oche-lease", "oche-due"


def tube_of(queue: str) -> str:
    """The tube that a queue belongs to."""
    return queue.partition(":")[0]


def of_tube(queues: Iterable[str], tube: str, kind: str) -> list[str]:
    """Those of the queues that are the tube's and of this kind."""
    return sorted(queue for queue in queues if queue.startswith(f"{tube}:{kind}"))


def number_of(queue: str) -> int:
    """The number at the end of the name."""
    return int(queue.rpartition(":")[2])


def held(tube: str, count: int) -> set[str]:
    """The queues that a connection consumes from which holds so many jobs of the tube: the count in binary."""
    return {f"{tube}:held:{1 << bit}" for bit in range(count.bit_length()) if count >> bit & 1}


def delayed(tube: str, delay: float) -> str:
    """The queue for jobs so many seconds from ready: rounded up by at most an eighth, so that there are not many."""
    wait = max(1, round(delay * 1000))
    step = 1 << max(0, wait.bit_length() - 4)
    wait = -(-wait // step) * step
    if wait + 1000 * UNUSED > _LONGEST:
        raise ConfigError(f"delay={delay!r}: RabbitMQ can wait for {_LONGEST // 86_400_000} days at most")
    return f"{tube}:delay:{wait}"


def arguments(queue: str) -> dict[str, Any]:
    """What a queue of this name is declared with."""
    tube, _, kind = queue.partition(":")
    back: dict[str, Any] = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": tube}
    if not kind:
        return {"x-max-priority": len(LEVELS)}
    if kind.startswith("delay:"):
        wait = number_of(queue)
        return back | {"x-message-ttl": wait, "x-expires": wait + round(1000 * UNUSED)}
    if kind.startswith("long:"):
        return back | {"x-message-ttl": BACK, "x-expires": round(1000 * UNUSED)}
    return {}


def level(priority: int) -> int:
    """The broker's priority, of which a larger one is more urgent."""
    return sum(priority <= edge for edge in LEVELS)


def properties(
    id: str, *, level: int, lease: float, handed: int = 0, delay: float | None = None
) -> pika.BasicProperties:
    """Of a job's message; `handed` is how often it was handed out before, and `delay` the seconds until it is ready."""
    headers: dict[str, Any] = {_HANDED: handed, _LEASE: round(lease * 1000)}
    if delay is not None:
        headers[_DUE] = round((time.time() + delay) * 1000)
    return pika.BasicProperties(delivery_mode=2, message_id=id, priority=level, headers=headers)


def handed_of(found: pika.BasicProperties) -> int:
    """How often the job was handed out before its message was put."""
    return _number(found, _HANDED, 0)


def lease_of(found: pika.BasicProperties) -> float:
    """In seconds."""
    return _number(found, _LEASE, round(DEFAULT_LEASE * 1000)) / 1000


def due_of(found: pika.BasicProperties) -> int:
    """When it will be ready, in milliseconds since the epoch."""
    return _number(found, _DUE, 0)


def _number(found: pika.BasicProperties, name: str, default: int) -> int:
    value = (found.headers or {}).get(name)
    return value if isinstance(value, int) else default
