"""What the settings of an nsqd mean for a farm. They have the names that its HTTP API gives them (`/config/NAME`).

mem_queue_size      kill -9 or a power cut may lose
N                   up to N jobs of each tube that wait, and those as below
0                   those that run or are delayed, and what it had not synced (`sync_timeout`, 2 s by default)

No setting makes it keep all: nsqd writes to disk where its queue begins, which is behind what it handed out and holds
in memory. Clients put jobs again; messages of streams nobody does, so there the time between two syncs should be short.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from oche.ops.access import access
from oche.ops.finding import Finding, note, warning
from oche.ops.seen import Seen, version

LEAST = (1, 2)
_NANO = 1e9  # nsqd counts durations in nanoseconds
#: Seconds between two syncs that are few.
_OFTEN = 0.1
#: Seconds; a job that takes longer has to change hands.
_SHORT = 900


def judge(seen: Seen) -> Iterator[Finding]:
    """Of a server that answers; `nsq+lookupd` leads to several, which are judged by what one of them tells."""
    yield version("nsqd", seen.settings.get("version"), LEAST)
    yield _durability(seen)
    yield _limits(seen)
    yield access(seen, remedy="start it with -tcp-address 127.0.0.1:4150 and -http-address 127.0.0.1:4151, or a tunnel")
    if urlsplit(seen.url).scheme == "nsq" and "," not in seen.url:
        yield note("copies", "nothing is replicated: jobs on an nsqd wait until that one is back")


def _durability(seen: Seen) -> Finding:
    told = seen.settings.get("mem_queue_size")
    remedy = "start it with -mem-queue-size 0 and -data-path FOLDER"
    if told is None:
        return note("durability", "a power cut may take what it kept in memory (-mem-queue-size, 10,000 jobs)", remedy)
    if seen.number("mem_queue_size"):
        text = f"up to {seen.number('mem_queue_size'):,} jobs of each tube are in memory only: kill -9 or a power cut "
        return warning("durability", f"{text}loses them; clients that live put theirs again", remedy)
    pause = seen.number("sync_timeout") / _NANO
    text = "what waits is on disk; kill -9 or a power cut takes what runs or is delayed, and up to "
    text += f"{pause or 2.0:g} s of what came; clients that live put their jobs again, and nobody messages of streams"
    return note("durability", text, "" if 0 < pause <= _OFTEN else "for streams start it with -sync-timeout 100ms, too")


def _limits(seen: Seen) -> Finding:
    most = seen.number("max_msg_size") or seen.traits.max_body or 0
    longest = seen.number("max_msg_timeout") / _NANO
    text = f"a job has {most:,} bytes at most" if most else "the size of a job is not told"
    text += f", and is held for {longest:,.0f} s before it changes hands" if longest else ""
    if 0 < longest < _SHORT:
        return warning("limits", text, "start it with -max-msg-timeout 15m or more")
    return note("limits", text)
