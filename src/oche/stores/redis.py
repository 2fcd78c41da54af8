"""Values in a Redis, or Valkey, 7 or newer: for workers on any machine, whole or in pieces.

Each part of a value is a string of 1 MiB (`parts` tells its key). Pieces are written by a script, which writes to
what exists only: a late attempt must not bring a deleted value to life.

Values are not signed, since pieces cannot be: who may write to the server may change numbers, and no more than that,
as nothing here is unpickled. Give it a password; `rediss://` keeps others from listening. The password stays where it
was given: jobs name the server only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self, cast
from urllib.parse import parse_qsl, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from oche.errors import ConfigError, StoreError, StoreFull, Unsupported
from oche.plugins import without_password
from oche.stores.mapping import flat
from oche.stores.parts import LIFE, PartStore
from oche.stores.seam import Buffer, Traits

#: Bytes of a part: what others wait for, as the server does one thing at a time, and what a slow line must carry in
#: `ANSWER` seconds. Of 4 MiB half as many bytes a second come out of redis-py: they leave the processor's cache.
PART = 1 << 20
#: Seconds for a connection to be made, and for an answer to come.
CONNECT, ANSWER = 5.0, 30.0
#: Bytes asked of the socket at a time.
READ = 1 << 20
#: Bytes of pieces that are gathered for one script; each small one counts for some more.
BATCH, EACH = 4 << 20, 64
#: Bytes from which a piece is sent from where it lies, rather than as a copy among others.
LARGE = 4096

#: KEYS: a part. ARGV: where a piece of it begins, the piece, and so on. Its room was taken when it was made, so it may
#: be written to when the server has no more.
_WRITE = """#!lua flags=allow-oom
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
for i = 1, #ARGV, 2 do redis.call('SETRANGE', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
"""
#: What else may be in the URL: where the certificates for TLS are, on every machine.
_OPTIONS = ("ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile")
_TRAITS = Traits(here_only=False, mapped=False, pieces=True, keeps=True)


class RedisStore(PartStore):
    """The values of this object, and the way to those of others in the same database."""

    def __init__(self, url: str) -> None:
        """Connects. Raises `ConfigError`, `Unsupported` for a server that is too old, `StoreError`."""
        address = urlsplit(url)
        super().__init__(f"Redis at {address.hostname}:{address.port or 6379}", PART)
        self.url = without_password(url)
        try:
            client = redis.Redis.from_url(
                url, socket_connect_timeout=CONNECT, socket_timeout=ANSWER, socket_read_size=READ,
                retry=Retry(NoBackoff(), 1),
            )  # fmt: skip
            self._client = cast(Any, client)
            policy = self._memory()["maxmemory_policy"]
        except ConfigError:
            raise
        except (TypeError, ValueError) as error:
            raise ConfigError(f"the URL of {self._where}: {error}; write redis://user:password@host:port/0") from error
        self._write = self._client.register_script(_WRITE)
        with self._told("be used as a store"):
            try:
                self._client.script_load(_WRITE)
            except redis.ResponseError as error:
                raise Unsupported(
                    f"{self._where} does not take our script: {error}; Redis 7 or Valkey is needed, and the right to "
                    "run scripts"
                ) from error
        self.traits = replace(_TRAITS, keeps=policy == "noeviction")

    @classmethod
    def open(cls, url: str) -> Self:
        """`redis://host:6379/0`, `rediss://` with TLS, `redis://user:password@host`, as redis-py takes them."""
        form = "redis://user:password@host:6379/0"
        shown = without_password(url)
        try:
            address = urlsplit(url)
            known = address.scheme in ("redis", "rediss", "valkey") and address.hostname and (address.port or True)
        except ValueError as error:
            raise ConfigError(f"{shown.partition('?')[0]!r}: {error}; write {form}") from error
        if not known or address.fragment or not re.fullmatch(r"(/\d*)?", address.path):
            raise ConfigError(f"{shown.partition('?')[0]!r} is not of the form {form}")
        for option, _ in parse_qsl(address.query, keep_blank_values=True):
            if option not in _OPTIONS:
                raise ConfigError(
                    f"{option}= cannot be in the URL of a store: values are bytes, and jobs carry the URL, without "
                    f"user and password; write {form}, and of redis-py's options only {', '.join(_OPTIONS)}"
                )
        return cls(url.replace("valkey://", "redis://", 1))

    def create(self, size: int) -> str:
        self._check_room(size)
        name = self._new_name(size)
        with self._making(name), self._told(f"keep a value of {size:,} bytes"):
            for number, key in enumerate(self._keys(name)):
                self._client.set(key, b"", ex=LIFE)
                if rest := min(PART, size - number * PART):
                    self._client.setrange(key, rest - 1, b"\0")
        return name

    def write(self, name: str, start: int, data: Buffer) -> None:
        self.write_many(name, [(start, data)])

    def write_many(self, name: str, pieces: Iterable[tuple[int, Buffer]]) -> None:
        size, part = self._measures(name)
        last = max(0, (size - 1) // part)
        batch: dict[int, list[int | bytes | memoryview]] = {}
        room = BATCH
        for start, data in pieces:
            rest = flat(data)
            if start < 0 or start + rest.nbytes > size:
                raise StoreError(f"{rest.nbytes:,} bytes at {start:,} do not fit {name}, which has {size:,}")
            while True:  # for an empty one, too: its value may be lost
                number = min(start // part, last)
                some = rest[: (number + 1) * part - start]
                batch.setdefault(number, []).extend(
                    (start - number * part, some if some.nbytes > LARGE else bytes(some))
                )
                start, rest, room = start + some.nbytes, rest[some.nbytes :], room - some.nbytes - EACH
                if room <= 0:
                    self._write_batch(name, batch)
                    batch, room = {}, BATCH
                if not rest:
                    break
        self._write_batch(name, batch)

    def get_many(self, name: str, spans: Sequence[tuple[int, int]]) -> list[memoryview]:
        size, part = self._measures(name)
        runs: list[int] = []  # by answer, the span that it is of
        with self._client.pipeline(transaction=False) as pipeline:
            for index, (start, stop) in enumerate(spans):
                if not 0 <= start <= stop <= size:
                    raise StoreError(f"bytes {start:,} to {stop:,} do not fit {name}, which has {size:,}")
                while start < stop:
                    number, first = divmod(start, part)
                    last = min(part, stop - number * part)
                    pipeline.getrange(self._key(name, number), first, last - 1)
                    runs.append(index)
                    start += last - first
            with self._told(f"be read, {name}"):
                found: list[bytes] = pipeline.execute()
        whole = [bytearray() for _ in spans]
        for index, data in zip(runs, found, strict=True):
            whole[index] += data
        if any(len(got) != stop - start for got, (start, stop) in zip(whole, spans, strict=True)):
            raise self._lost(name)
        return [memoryview(got).toreadonly() for got in whole]

    def _write_batch(self, name: str, batch: dict[int, list[int | bytes | memoryview]]) -> None:
        for number, arguments in batch.items():
            with self._told(f"write to the value {name}"):
                written = self._write([self._key(name, number)], arguments)
            if not written:
                raise self._lost(name)

    def _memory(self) -> dict[str, Any]:
        with self._told("be asked for its memory"):
            return cast("dict[str, Any]", self._client.info("memory"))

    def _check_room(self, size: int) -> None:
        if size <= PART:
            return  # the server itself says so
        memory = self._memory()
        room = memory["maxmemory"] or memory["total_system_memory"]
        if self.traits.keeps:
            room -= memory["used_memory"]
        if size > room:
            raise StoreFull(
                f"a value of {size:,} bytes does not fit the {max(room, 0):,} of memory that {self._where} has for it; "
                "give it more, or take a store on disk (store='files:///path')"
            )

    def _set(self, key: str, data: memoryview) -> None:
        with self._told(f"keep {data.nbytes:,} bytes of a value"):
            self._client.set(key, data, ex=LIFE)

    def _get(self, key: str) -> bytes | None:
        with self._told(f"be read, {key}"):
            return cast("bytes | None", self._client.get(key))

    def _renew(self, keys: list[str]) -> None:
        with self._told("renew a value"), self._client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.expire(key, LIFE)
            pipeline.execute()

    def _delete(self, keys: list[str]) -> None:
        with self._told("forget a value"):
            self._client.unlink(*keys)

    def _disconnect(self) -> None:
        self._client.close()

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """What the library says, in our words."""
        try:
            yield
        except redis.AuthenticationError as error:
            raise ConfigError(
                f"{self._where} refuses us: {error}; mend user and password in the URL of the client, "
                "and on every worker set OCHE_STORE to that URL"
            ) from error
        except redis.ResponseError as error:
            said = f"{self._where} cannot {what}: {error}"
            if isinstance(error, redis.exceptions.OutOfMemoryError) or "MISCONF" in str(error):
                raise StoreFull(f"{said}; give it more room, or take a store on disk") from error
            raise StoreError(f"{said}; look at what it allows us") from error
        except (redis.RedisError, OSError) as error:
            raise StoreError(f"{self._where} cannot {what}: {error}; see that it runs and can be reached") from error
