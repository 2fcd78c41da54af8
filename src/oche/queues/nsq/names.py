"""How the topics of a tube are named, and what a message of ours says besides its body.

T                          jobs
T_buried                   jobs that are set aside
T_long.NUMBER              one job that is held for longer than nsqd would let
T_signal                   no messages: it is there while the signal T is raised
_life.NUMBER#ephemeral     no messages that matter: it is there as long as this nsqd runs

A tube's letters and digits, dots and hyphens stand for themselves in T, "_" is "__", any other byte is "_" and two
digits in hexadecimal. Jobs are read from one channel, `oche`.

A message is the body alone, if there is nothing else to say. Else a line of JSON follows the body.
"""

from __future__ import annotations

import re

import msgspec

from oche.errors import ConfigError
from oche.queues.seam import DEFAULT_LEASE

CHANNEL = "oche"
BURIED, LONG, SIGNAL = "_buried", "_long.", "_signal"
LIFE, EPHEMERAL = "_life.", "#ephemeral"
#: Bytes that the line after a body may take.
ROOM = 128

_LONGEST = 64
_MARK, _END = b'\n{"oche-nsq":', b"}"
_TOPIC = re.compile(rf"((?:[A-Za-z0-9.-]|__|_[0-9a-f]{{2}})+)({BURIED}|{SIGNAL}|{re.escape(LONG)}[0-9a-f]+)?")
_ESCAPED = re.compile(rb"_(_|[0-9a-f]{2})")


class Facts(msgspec.Struct, frozen=True):
    """What a message says besides its body."""

    handed: int = 0  #: times it was handed out as another message, before this one
    lease: float = DEFAULT_LEASE  #: seconds
    due: float = 0.0  #: when it is ready, in seconds since the epoch


_PLAIN = Facts()


def topic_of(tube: str, kind: str = "") -> str:
    """The tube's topic of this kind. Raises `ConfigError` if NSQ has no name for it."""
    name = "".join(char if char.isascii() and (char.isalnum() or char in ".-") else _escape(char) for char in tube)
    if not tube or len(name + kind) > _LONGEST:
        raise ConfigError(
            f"tube {tube!r}: as a topic of NSQ it is {name + kind!r}, and that must have 1 to {_LONGEST} characters; "
            "take a shorter name, of letters, digits, dots and hyphens"
        )
    return name + kind


def tube_of(topic: str) -> tuple[str, str]:
    """The tube and the kind of a topic; two empty strings for a topic that is not ours to understand."""
    found = _TOPIC.fullmatch(topic)
    if found is None:
        return "", ""
    name, kind = found.groups(default="")
    raw = _ESCAPED.sub(lambda part: b"_" if part[1] == b"_" else bytes([int(part[1], 16)]), name.encode())
    return raw.decode(errors="replace"), LONG if kind.startswith(LONG) else kind


def wrap(body: bytes, facts: Facts) -> bytes:
    """The message for a body."""
    if body and facts == _PLAIN and _split(body) is None:
        return body
    said = {name: value for name, value in msgspec.structs.asdict(facts).items() if value != getattr(_PLAIN, name)}
    return body + _MARK + msgspec.json.encode(said) + _END


def unwrap(message: bytes) -> tuple[bytes, Facts]:
    """Body and facts of a message, of ours or of somebody else's."""
    return _split(message) or (message, Facts())


def _split(message: bytes) -> tuple[bytes, Facts] | None:
    start = message.rfind(_MARK, -ROOM)
    if start < 0 or not message.endswith(_END):
        return None
    try:
        return message[:start], msgspec.json.decode(message[start + len(_MARK) : -len(_END)], type=Facts)
    except msgspec.DecodeError:
        return None


def _escape(char: str) -> str:
    return "__" if char == "_" else "".join(f"_{byte:02x}" for byte in char.encode())
