"""Values in a memcached: for workers on any machine, whole, and only as long as it has room.

A cache takes items of 1 MB and drops what it likes, so a value is cut, and its name carries a digest of all of it:
what is dropped, cut short or changed is a lost value, never a wrong one.

memcached asks nobody who they are. Names travel in signed jobs, so a stranger who reaches it can delete values and
read them, but what a stranger puts in their place is not taken. Nothing here is unpickled.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self, TypeVar, cast
from urllib.parse import urlsplit

from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheError, MemcacheServerError, MemcacheUnexpectedCloseError

from oche.errors import ConfigError, StoreError, StoreFull, Unsupported, ValueLost
from oche.stores.parts import LIFE, PartStore
from oche.stores.seam import Buffer, Traits

T = TypeVar("T")

PORT = 11211
#: Bytes of an item that the server takes for itself and for the key: about 160.
HEAD = 512
#: Bytes of a part at most, where the server takes larger items: what we hold beside a value on its way.
PART = 1 << 20
#: Seconds for a connection to be made, and for an answer to come.
CONNECT, ANSWER = 5.0, 30.0
#: Bytes of the digest: 2**128 tries to make other data that pass for a value.
DIGEST = 16

_WHOLE = (
    "memcached cannot write to a part of what it holds; put whole values, or take a store that can (redis://, "
    "files:///path)"
)


class MemcachedStore(PartStore):
    """The values of this object, and the way to those of others. One connection, one talk at a time."""

    def __init__(self, host: str, port: int) -> None:
        """Connects, and asks for the server's limits. Raises `StoreError`."""
        self._client = Client((host, port), connect_timeout=CONNECT, timeout=ANSWER, no_delay=True)
        super().__init__(f"memcached at {host}:{port}", PART)
        self.url = f"memcached://{f'[{host}]' if ':' in host else host}:{port}"
        settings = self._talk("tell its limits", lambda client: client.stats("settings"))
        self._part = min(PART, int(settings[b"item_size_max"]) - HEAD)
        self._room = int(settings[b"maxbytes"])
        self.traits = Traits(
            here_only=False, mapped=False, pieces=False, keeps=settings[b"evictions"] == b"off", max_value=self._room
        )

    @classmethod
    def open(cls, url: str) -> Self:
        """`memcached://host` or `memcached://host:port`, and no more: it knows neither users nor databases."""
        try:
            address = urlsplit(url)
            host, port = address.hostname, address.port or PORT
        except ValueError as error:
            raise ConfigError(f"{url!r}: {error}; write memcached://host:{PORT}") from error
        if not host or "@" in address.netloc or address.path.strip("/") or set(url) & set("?#"):
            raise ConfigError(f"{url!r} is not of the form memcached://host:{PORT}")
        return cls(host, port)

    def create(self, size: int) -> str:
        raise Unsupported(_WHOLE)

    def write(self, name: str, start: int, data: Buffer) -> None:
        raise Unsupported(_WHOLE)

    def _own_nothing(self) -> None:
        super()._own_nothing()
        self._client.close()  # in a forked child it is a copy of the parent's connection
        self._turn = threading.Lock()

    def _seal(self, whole: memoryview) -> str:
        return "." + _digest(whole)

    def _read(self, name: str) -> bytearray:
        whole = super()._read(name)
        if _digest(whole) != name.rpartition(".")[2]:
            raise ValueLost(
                f"what {self._where} has for {name} is not what its owner put: somebody else writes to that server; "
                "close it to strangers"
            )
        return whole

    def _check_room(self, size: int) -> None:
        if size > self._room:
            raise StoreFull(
                f"a value of {size:,} bytes does not fit the {self._room:,} that {self._where} may take; give it more "
                "(memcached -m), or take a store on disk (store='files:///path')"
            )

    def _set(self, key: str, data: memoryview) -> None:
        what = f"keep {data.nbytes:,} bytes of a value"
        self._talk(what, lambda client: client.set(key, bytes(data), LIFE, noreply=False))

    def _get(self, key: str) -> bytes | None:
        return cast("bytes | None", self._talk(f"be read, {key}", lambda client: client.get(key)))

    def _renew(self, keys: list[str]) -> None:
        self._talk("renew a value", lambda client: [client.touch(key, LIFE, noreply=False) for key in keys])

    def _delete(self, keys: list[str]) -> None:
        self._talk("forget a value", lambda client: client.delete_many(keys, noreply=False))

    def _disconnect(self) -> None:
        with self._turn:
            self._client.close()

    def _talk(self, what: str, ask: Callable[[Any], T]) -> T:
        """One request; once more over a new connection if the first broke: all of them may be made twice."""
        with self._turn:
            try:
                with suppress(OSError, MemcacheUnexpectedCloseError):
                    return self._ask(ask)
                return self._ask(ask)
            except (OSError, MemcacheUnexpectedCloseError) as error:
                said = f"{self._where} cannot {what}: {error or 'it closed the connection'}"
                raise StoreError(f"{said}; see that it runs and can be reached") from error
            except MemcacheServerError as error:
                raise StoreFull(f"{self._where} cannot {what}: {error}; give it more memory (memcached -m)") from error
            except MemcacheError as error:
                raise StoreError(f"{self._where} cannot {what}: {error}; is it a memcached?") from error

    def _ask(self, ask: Callable[[Any], T]) -> T:
        try:
            return ask(self._client)
        except BaseException:
            self._client.close()  # an answer that is under way must not be taken for the next one's
            raise


def _digest(data: Buffer) -> str:
    return hashlib.blake2b(data, digest_size=DIGEST).hexdigest()
