"""An id where a message has no place for one: after the JSON, in blanks, which every JSON reader passes over.

A broker without headers carries the body and nothing else, and the body is to be what was published, for other
programs and for eyes. So the id, 64 bits, and a count, 8 bits, follow it as 72 spaces (0) and tabs (1). Whoever
writes the message anew loses them, and the message is then one from elsewhere.
"""

from __future__ import annotations

_BITS = 72
_BLANKS = bytes.maketrans(b"01", b" \t")
_DIGITS = bytes.maketrans(b" \t", b"01")


def stamp(body: bytes, id: str, count: int = 0) -> bytes:
    """The body with an id of 16 hexadecimal digits and a count up to 255 (more are 255) behind it."""
    number = int(id, 16) << 8 | min(count, 255)
    return body.rstrip() + f"{number:0{_BITS}b}".encode().translate(_BLANKS)


def read_stamp(data: bytes) -> tuple[bytes, str, int]:
    """Body, id and count; the id is "" where there is no stamp."""
    end = data[-_BITS:]
    if len(end) < _BITS or end.strip(b" \t"):
        return data, "", 0
    number = int(end.translate(_DIGITS), 2)
    return data[:-_BITS], f"{number >> 8:016x}", number & 0xFF
