"""Signatures: who wrote a message, checked before anything else of it is read.

A signed message is its body, a newline, and 64 hexadecimal digits: the HMAC-SHA256 of the body under the
key that all machines of a farm share. The key is 32 bytes in a file of the user's, or `OCHE_KEY`.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import re
from pathlib import Path

from oche.errors import BadSignature, ConfigError, KeyMissing

_DIGITS = 64
_HEX = re.compile(rb"[0-9a-f]{64}")
#: Hexadecimal digits that a key must have at least: 16 bytes.
_SHORTEST = 32


class Signer:
    """Signs and checks messages with one key; with None it signs nothing, and trusts nothing."""

    def __init__(self, key: bytes | None) -> None:
        """Raises `ConfigError` for an empty key: anybody could sign with it."""
        if key is not None and not key:
            raise ConfigError("a key of no bytes protects nothing; take `load_key`, or None to sign nothing")
        # Copied for each message: a digest from the key alone sets OpenSSL up anew each time, at ten times the price.
        self._mac = None if key is None else hmac.new(key, digestmod="sha256")

    @property
    def signed(self) -> bool:
        """Whether `seal` signs."""
        return self._mac is not None

    def seal(self, body: bytes) -> bytes:
        """The body with its signature; without a key, the body."""
        return body if self._mac is None else b"%b\n%b" % (body, _sign(self._mac, body))

    def open(self, data: bytes) -> tuple[bytes, bool]:
        """The body, and whether it is signed with this key; False if there is no signature.

        Raises `BadSignature` if there is one by another key, or none to check it with.
        """
        signature = data[-_DIGITS:]
        if data[-_DIGITS - 1 : -_DIGITS] != b"\n":
            return data, False
        body = data[: -_DIGITS - 1]
        if self._mac is not None and hmac.compare_digest(signature, _sign(self._mac, body)):
            return body, True
        if not _HEX.fullmatch(signature):
            return data, False
        if self._mac is None:
            raise BadSignature("a signed message, and no key here to check it; give this side the key (`oche key`)")
        raise BadSignature(
            "a message signed with another key; run `oche key` on the machine whose key is right and set OCHE_KEY "
            "to what it prints on the others"
        )


def _sign(mac: hmac.HMAC, body: bytes) -> bytes:
    fresh = mac.copy()
    fresh.update(body)
    return fresh.hexdigest().encode()


class Unsealed(Signer):
    """For messages that never leave their process: nothing to sign, and nobody to distrust."""

    def __init__(self) -> None:
        super().__init__(None)

    @property
    def signed(self) -> bool:
        """What comes is ours, as if it were signed."""
        return True

    def open(self, data: bytes) -> tuple[bytes, bool]:
        """All of it, as if it were signed."""
        return data, True


def key_file() -> Path:
    """Where this user's key is, or would be: `OCHE_CONFIG_DIR`, or the user's config directory."""
    if folder := os.environ.get("OCHE_CONFIG_DIR"):
        return Path(folder) / "key"
    import platformdirs

    return Path(platformdirs.user_config_dir("oche")) / "key"


def load_key(*, local: bool) -> bytes:
    """The key of this farm: `OCHE_KEY`, else the key file, else a new one if `local` (all within one machine).

    Raises `KeyMissing` if there is none and it cannot be made up here, and `ConfigError` for one that is
    no key or that other users can read.
    """
    if text := os.environ.get("OCHE_KEY"):
        return _parse(text, "OCHE_KEY")
    path = key_file()
    key = _read(path)
    if key is None and local:
        _create(path)
        key = _read(path)
    if key is None:
        raise KeyMissing(
            f"no key to sign messages with: OCHE_KEY is not set and there is no {path}; run `oche key` on the machine "
            "that has one, and set OCHE_KEY here to what it prints"
        )
    return key


def key_text() -> str:
    """This farm's key as hexadecimal digits, to be set as `OCHE_KEY` elsewhere; made if there is none yet."""
    return load_key(local=True).hex()


def _parse(text: str, source: str) -> bytes:
    digits = text.strip()
    # The message must not show the key.
    if not re.fullmatch(r"(?:[0-9a-fA-F]{2})+", digits):
        raise ConfigError(
            f"{source} holds {len(digits)} characters that are not pairs of hexadecimal digits; "
            "set it to what `oche key` prints"
        )
    if len(digits) < _SHORTEST:
        raise ConfigError(
            f"{source} has {len(digits)} hexadecimal digits, and a key has at least {_SHORTEST}; "
            "set it to what `oche key` prints"
        )
    return bytes.fromhex(digits)


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(4096).decode("ascii", "replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(
            f"the key file {path} cannot be read: {error}; make it readable for you, or set OCHE_KEY"
        ) from error
    if os.name == "posix" and mode & 0o077:
        raise ConfigError(
            f"other users may read or write the key file {path} (mode {mode & 0o777:o}); run `chmod 600 {path}`, "
            "and take a new key if somebody may have seen it"
        )
    return _parse(text, f"the key file {path}")


def _create(path: Path) -> None:
    """Puts a new key in place, whole; where another process was quicker, its key stays."""
    import secrets
    import tempfile

    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made by mkstemp with mode 0600. A link appears with its content or not at all, and never replaces a file.
        handle, draft = tempfile.mkstemp(prefix=".key-", dir=path.parent)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(secrets.token_hex(32) + "\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
        finally:
            os.unlink(draft)
    except OSError as error:
        raise ConfigError(
            f"cannot write a key to {path}: {error}; set OCHE_CONFIG_DIR to a directory of yours, or OCHE_KEY"
        ) from error
