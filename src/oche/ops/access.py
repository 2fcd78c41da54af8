"""Who reaches a broker, and what keeps strangers from it."""

from __future__ import annotations

from urllib.parse import urlsplit

from oche.ops.finding import Finding, note, ok, warning
from oche.ops.seen import Seen

_OPEN = "whoever reaches it may read, delete and put jobs (workers run only what is signed with your key)"
_NARROW = "let it listen on 127.0.0.1 or a private network only, behind a firewall or a tunnel (ssh -L)"


def access(seen: Seen, *, remedy: str = _NARROW) -> Finding:
    """Judges by the URL: what it holds of password and TLS is in force, or the broker would not have let us in."""
    parts = urlsplit(seen.url)
    password = parts.password is not None
    secret = parts.scheme in ("rediss", "amqps")
    if not seen.exposed:
        return ok("access", "reached from this machine only" + (", with a password" if password else ""))
    if (parts.username, parts.password) == ("guest", "guest"):
        return warning("access", "other machines reach it with the password that everybody knows, guest", remedy)
    if not password:
        return warning("access", f"other machines reach it, and it asks for no password: {_OPEN}", remedy)
    if not secret:
        return note(
            "access",
            "other machines reach it with a password; that and all jobs travel in clear",
            f"on a network that others use: TLS ({parts.scheme}s://), or a tunnel",
        )
    return ok("access", "other machines reach it, over TLS and with a password")
