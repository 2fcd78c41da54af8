"""What beanstalkd's settings mean for a farm.

log                 a power cut may lose
none                everything: jobs live in memory
-b, -F              all that the system had not written yet, about half a minute
-b, -f MS           what was put in the last MS milliseconds (50 by default)
-b, -f 0            nothing that a put returned for
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from oche.ops.access import access
from oche.ops.finding import Finding, error, note, ok, warning
from oche.ops.seen import Seen, command_of, version
from oche.queues.seam import Report

#: reserve-job and the sync every 50 ms came with it.
LEAST = (1, 12)
#: Bytes that a job may have, if nobody told the server otherwise.
USUAL_BODY = 65_535


def command(url: str, settings: Report) -> tuple[str, ...]:
    """How it was started, if that can be seen: the protocol does not tell how often it syncs."""
    return command_of(url, settings, "beanstalkd")


def judge(seen: Seen) -> Iterator[Finding]:
    """Of a server that answers."""
    yield version("beanstalkd", seen.settings.get("version"), LEAST)
    if seen.settings.get("draining") == "true":
        yield error("draining", "it takes no new jobs, and will not until it is started again", "restart it")
    yield _durability(seen)
    yield _limits(seen)
    yield access(seen, remedy="start it with -l 127.0.0.1, or behind a firewall or a tunnel: it knows no password")


def _durability(seen: Seen) -> Finding:
    if not seen.traits.durable:
        return warning(
            "durability",
            "no log: a restart or a power cut loses every job; clients that live put theirs again",
            "start it with -b FOLDER",
        )
    name = "binlog-records-written"
    if seen.before and seen.number(name) == int(seen.before.get(name, 0)):
        return error(
            "durability",
            "its log takes nothing any more, so jobs are in memory only; that happens after a full or broken disk",
            "see to the disk of its -b folder, then restart it",
        )
    interval = _interval(seen.command)
    if interval == 0.0:
        return ok("durability", "a log, synced at each write (-f 0): a power cut loses nothing that was put")
    if interval == inf:
        return warning(
            "durability",
            "a log that is never synced (-F): a power cut may take all that the system had not written yet",
            "start it with -f 50, or -f 0 for each write",
        )
    if interval is None:
        return note("durability", "a log: a power cut may take what was put since it last synced (-f, 50 ms)")
    return note(
        "durability",
        f"a log: a power cut may take what was put in the last {interval * 1e3:,.0f} ms",
        "where that is too much: -f 0, at some 25 times the price of a put",
    )


def _interval(command: tuple[str, ...]) -> float | None:
    """Seconds between two syncs, infinite for never; None where the command line is not known."""
    if not command:
        return None
    interval = 0.05
    for place, word in enumerate(command):
        if word == "-F":
            interval = inf
        elif word.startswith("-f"):
            text = word[2:] or "".join(command[place + 1 : place + 2])
            interval = int(text) / 1e3 if text.isdecimal() else interval
    return interval


def _limits(seen: Seen) -> Finding:
    most = seen.traits.max_body or 0
    text = f"a job has {most:,} bytes at most"
    if most <= USUAL_BODY:
        return note("limits", text, "for larger values: connect(store=...), or start it with -z BYTES")
    return ok("limits", text)
