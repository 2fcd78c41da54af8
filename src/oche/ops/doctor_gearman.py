"""What a gearmand means for a farm. Its own people call its persistent queue deprecated; it is not relied on."""

from __future__ import annotations

from collections.abc import Iterator

from oche.ops.access import access
from oche.ops.finding import Finding, note, warning
from oche.ops.seen import Seen, version

LEAST = (1, 1)


def judge(seen: Seen) -> Iterator[Finding]:
    """Of a server that answers."""
    yield version("gearmand", seen.settings.get("version"), LEAST)
    yield warning(
        "durability",
        "a restart or a power cut loses every job; clients that live put theirs again, and named runs can be resumed",
        "name your runs (run=NAME); where jobs must outlive the server take another broker",
    )
    yield note("lease", "it has no leases: the job of a worker that is cut off comes back when its connection ends")
    yield access(seen, remedy="start it with --listen=127.0.0.1, or behind a firewall or a tunnel")
