"""A flag in Redis: the slowest, and the only one that other machines see.

redis-cli get redis_primes_flag           # "0" or "1"
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from oche.errors import ConfigError, StoreError, ValueLost
from oche.sharing.flag import Flag, Reach

if TYPE_CHECKING:
    from redis import Redis

KEY = "redis_primes_flag"
#: Seconds that a server may take to answer.
PATIENCE = 5.0


class RedisFlag(Flag):
    """A key that holds 0 or 1.

    Its maker's `close` deletes it. After kill -9 it stays, and who makes the flag next clears it.
    """

    reach = Reach.NETWORK

    def __init__(self, url: str = "redis://127.0.0.1:6379", key: str = KEY) -> None:
        """Makes the key, or clears the one that is there.

        Raises `ConfigError` for a URL that cannot be right or without redis-py, `StoreError` where no server answers.
        """
        self._maker = os.getpid()
        self._join(url, key)
        self.clear()

    def _join(self, url: str, key: str) -> None:
        self.url, self.key = url, key
        self._client = _client(url)

    def set(self) -> None:
        with self._asking():
            self._client.set(self.key, b"1")

    def clear(self) -> None:
        with self._asking():
            self._client.set(self.key, b"0")

    def is_set(self) -> bool:
        with self._asking():
            value = self._client.get(self.key)
        if value is None:
            raise ValueLost(f"the key {self.key} is not in Redis: the flag's maker closed it, or the server forgot it")
        return value == b"1"

    def close(self) -> None:
        maker, self._maker = self._maker, -1
        if maker == os.getpid():
            with self._asking():
                self._client.delete(self.key)
        self._client.close()

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        import redis

        try:
            yield
        except redis.RedisError as error:
            where = urlsplit(self.url)
            server = f"{where.hostname}:{where.port or 6379}"
            raise StoreError(f"Redis at {server}: {error}; see that the server runs") from error

    def __reduce__(self) -> tuple[Callable[..., RedisFlag], tuple[str, str]]:
        return _attached, (self.url, self.key)


def _attached(url: str, key: str) -> RedisFlag:
    flag = RedisFlag.__new__(RedisFlag)
    flag._maker = -1
    flag._join(url, key)
    return flag


def _client(url: str) -> Redis:
    try:
        import redis
    except ModuleNotFoundError as error:
        raise ConfigError("a RedisFlag needs the package 'redis'; run pip install 'oche[redis]'") from error
    options: dict[str, Any] = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
    try:
        return redis.Redis.from_url(url, **options)
    except ValueError as error:
        raise ConfigError(f"{url.rpartition('@')[2]!r} is no address of Redis: {error}") from error
