"""What beanstalkd's replies mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from oche.errors import QueueError, QueueFull, TooLarge
from oche.queues.beanstalkd.wire import Reply
from oche.queues.seam import TubeStats

#: Found in the statistics of a tube that holds a job or is watched; one that is only about to be used has neither.
ALIVE = re.compile(rb"^current-(jobs-(ready|reserved|delayed|buried)|watching): [1-9]", re.MULTILINE)

_REFUSALS = {
    b"BURIED": (QueueFull, "is out of memory; drain it or give it more"),
    b"OUT_OF_MEMORY": (QueueFull, "has no memory or disk left for the job; drain it or give it more"),
    b"DRAINING": (QueueFull, "is draining and takes no new jobs; restart it"),
    b"JOB_TOO_BIG": (TooLarge, "takes no body of that size; start it with a larger -z, or use a store"),
}


_JOB = re.compile(
    rb"tube: \"?(?P<tube>[^\n\"]+)\"?\nstate: (?P<state>\w+)\npri: (?P<priority>\d+)\n.*?ttr: (?P<lease>\d+)\n"
    rb"time-left: (?P<left>-?\d+)\n.*?reserves: (?P<reserves>\d+)\n.*?releases: (?P<releases>\d+)\n",
    re.DOTALL,
)


class JobStats(NamedTuple):
    """What the statistics of a job tell a holder."""

    tube: str
    held: bool
    priority: int
    lease: int  #: seconds
    left: int  #: whole seconds of the lease that are left
    attempts: int


def job_stats(body: bytes) -> JobStats:
    """The statistics of a job, from the body of a reply to stats-job."""
    found = _JOB.search(body)
    if found is None:
        raise QueueError(f"beanstalkd answered {body[:200]!r} to stats-job; see its version")
    tube, state, priority, lease, left, reserves, releases = found.groups()
    attempts = max(1, int(reserves) - int(releases))
    return JobStats(tube.decode(), state == b"reserved", int(priority), int(lease), int(left), attempts)


def refusal(reply: Reply, where: str) -> QueueError:
    """The error for the reply to a put that stored nothing."""
    kind, meaning = _REFUSALS.get(reply.status, (QueueError, f"answered {reply.status!r} to a put; see its version"))
    return kind(f"{where} {meaning}")


def tube_stats(stats: Mapping[str, object]) -> TubeStats:
    """The counts in the statistics of a tube."""

    def count(name: str) -> int:
        number = stats[f"current-{name}"]
        assert isinstance(number, int)
        return number

    return TubeStats(
        ready=count("jobs-ready"),
        reserved=count("jobs-reserved"),
        delayed=count("jobs-delayed"),
        buried=count("jobs-buried"),
        watching=count("watching"),
        waiting=count("waiting"),
    )
