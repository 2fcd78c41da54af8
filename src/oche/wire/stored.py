"""Large parts of jobs and outcomes by reference: what travels in their place, and where it stands. No I/O here.

An argument of a call that is `{"$stored": NAME, "digest": DIGEST}` is JSON in the store that the job names; the
function of a job, and all values of an outcome, may be there in the same way. The digest is under the signature of the
message, so that whoever changes the store's bytes is found out before they are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

import msgspec

from oche.errors import BadMessage, ValueLost

Buffer = bytes | memoryview


class Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bytes in a store."""

    name: str = msgspec.field(name="$stored")
    digest: str  #: SHA-256 of the bytes, in hexadecimal digits


class _Named(msgspec.Struct):
    args: list[msgspec.Raw] = []
    kwargs: dict[str, msgspec.Raw] = {}


_BEGIN = b'{"$stored":'
#: Bytes of a reference at most; what is as short as that travels itself.
LONGEST = 300

_encode = msgspec.json.Encoder().encode
_calls = msgspec.json.Decoder(list[msgspec.Raw]).decode
_named = msgspec.json.Decoder(_Named).decode
_stored = msgspec.json.Decoder(Stored).decode


def digest_of(data: Buffer) -> str:
    """By which bytes are known again."""
    return hashlib.sha256(data).hexdigest()


def check_digest(data: Buffer, stored: Stored) -> None:
    """Raises `ValueLost` for bytes that are not those which were put there."""
    if digest_of(data) != stored.digest:
        raise ValueLost(
            f"what the store has for {stored.name} is not what was put there: somebody else writes to it; "
            "close it to strangers"
        )


def write_stored(stored: Stored) -> bytes:
    """As it stands in place of an argument."""
    return _encode(stored)


def read_stored(text: bytes | str) -> Stored | None:
    """The reference, if it is one. Raises `BadMessage` for a malformed one."""
    data = text.encode() if isinstance(text, str) else text
    if not data.startswith(_BEGIN):
        return None
    try:
        return _stored(data)
    except msgspec.DecodeError as error:
        raise BadMessage(f"a reference that cannot be read: {error}; it begins with {data[:60]!r}") from error


def arguments(calls: Buffer | msgspec.Raw) -> list[bytes]:
    """The JSON of every argument of these calls. Raises `BadMessage` for what is no list of calls."""
    found: list[bytes] = []

    def note(part: bytes) -> bytes:
        found.append(part)
        return part

    each_argument(calls, note)
    return found


def references(calls: Buffer | msgspec.Raw) -> list[Stored]:
    """Those among the arguments of these calls."""
    data = bytes(calls)
    if _BEGIN not in data:
        return []
    return [stored for part in arguments(data) if (stored := read_stored(part)) is not None]


def each_argument(calls: Buffer | msgspec.Raw, change: Callable[[bytes], bytes]) -> bytes:
    """The calls with every argument replaced. Raises `BadMessage` for what is no list of calls."""
    try:
        return b"[" + b",".join(_changed(bytes(call), change) for call in _calls(calls)) + b"]"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage(f"these calls cannot be read: {error}; they begin with {bytes(calls)[:60]!r}") from error


def shorten(calls: bytes, room: int, put: Callable[[bytes], Stored]) -> bytes:
    """The calls in `room` bytes, if that can be: their largest arguments are put, and named where they stood."""
    over, chosen = len(calls) - room, set[bytes]()
    for part in sorted(arguments(calls), key=len, reverse=True):
        if over <= 0 or len(part) <= LONGEST:
            break
        over -= len(part) - LONGEST
        chosen.add(part)
    marks: dict[bytes, bytes] = {}

    def mark(part: bytes) -> bytes:
        if part not in chosen:
            return part
        if part not in marks:
            marks[part] = write_stored(put(part))
        return marks[part]

    return each_argument(calls, mark) if chosen else calls


def _changed(call: bytes, change: Callable[[bytes], bytes]) -> bytes:
    if call.startswith(b"["):
        return b"[" + b",".join(_parts(_calls(call), change)) + b"]"
    named = _named(call)
    pairs = zip(named.kwargs, _parts(named.kwargs.values(), change), strict=True)
    kwargs = b",".join(_encode(key) + b":" + part for key, part in pairs)
    return b'{"args":[%b],"kwargs":{%b}}' % (b",".join(_parts(named.args, change)), kwargs)


def _parts(parts: Iterable[msgspec.Raw], change: Callable[[bytes], bytes]) -> Iterator[bytes]:
    return (change(bytes(part)) for part in parts)
