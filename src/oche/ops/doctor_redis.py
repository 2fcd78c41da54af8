"""What the settings of a Redis, or Valkey, mean for a farm.

appendonly, appendfsync     a power cut may lose
no                          everything since the last snapshot, if there are any
yes, no                     what the system had not written yet, about half a minute
yes, everysec               about the last second
yes, always                 nothing that a put returned for
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from oche.ops.access import access
from oche.ops.finding import Finding, error, note, ok, warning
from oche.ops.seen import Seen, size, version

#: Scripts that say what they are (`#!lua`) came with it.
LEAST = (7,)
#: Of its memory, from here on it is nearly full.
_NEARLY = 0.9


def judge(seen: Seen) -> Iterator[Finding]:
    """Of a server that answers."""
    told = seen.settings
    valkey = told.get("valkey_version")
    yield version("Valkey" if valkey else "Redis", valkey or told.get("version"), LEAST)
    if told.get("role") not in (None, "master"):
        yield error("role", "it is a replica, which takes no jobs", "give the URL of its primary")
    if told.get("redis_mode") == "cluster":
        yield error("role", "it is part of a Redis Cluster; a script touches several tubes", "take a server by itself")
    yield _durability(seen)
    yield _memory(seen)
    yield _access(seen)


def _durability(seen: Seen) -> Finding:
    told = seen.settings
    if not seen.traits.durable:
        return warning(
            "durability",
            "no append-only file: a restart or a power cut loses the jobs; clients that live put theirs again",
            "CONFIG SET appendonly yes, and the same in redis.conf",
        )
    if told.get("aof_last_write_status") not in (None, "ok"):
        return error("durability", "it could not write its append-only file", "see to the disk of its dir")
    every = told.get("appendfsync")
    if every == "always":
        return ok("durability", "an append-only file, synced at each write: a power cut loses nothing that was put")
    if every == "everysec":
        return note(
            "durability",
            "an append-only file, synced each second: a power cut may take what was put in the last one",
            "where that is too much: CONFIG SET appendfsync always",
        )
    if every == "no":
        return warning(
            "durability",
            "an append-only file that is never synced: a power cut may take all that the system had not written yet",
            "CONFIG SET appendfsync everysec",
        )
    return note("durability", "an append-only file; how often it is synced (appendfsync) this user may not ask")


def _memory(seen: Seen) -> Finding:
    most, used = seen.number("maxmemory"), seen.number("used_memory")
    policy = str(seen.settings.get("maxmemory_policy", "noeviction"))
    if most and policy != "noeviction":
        return error(
            "memory",
            f"at {size(most)} it throws keys away ({policy}), and they may be jobs",
            "CONFIG SET maxmemory-policy noeviction",
        )
    if not most:
        return note("memory", f"no limit; {size(used)} in use", "CONFIG SET maxmemory to what this machine can spare")
    text = f"{size(used)} of {size(most)} in use; when it is full, puts are refused and nothing is lost"
    if used > _NEARLY * most:
        return warning("memory", text, "work it off, or CONFIG SET maxmemory higher")
    return ok("memory", text)


def _access(seen: Seen) -> Finding:
    found = access(seen, remedy="CONFIG SET requirepass and the password in the URL, or bind 127.0.0.1 in redis.conf")
    if found.remedy and seen.settings.get("protected-mode") == "yes" and urlsplit(seen.url).password is None:
        return note("access", "it listens at all addresses, and its protected mode refuses other machines")
    return found
