"""From a URL to an open store. The drivers are entry points, so that others can bring theirs."""

from __future__ import annotations

import os

from oche.errors import Unsupported
from oche.plugins import drivers, load_driver, without_password
from oche.stores.seam import Store

#: Name of the entry points: scheme = "module:StoreClass".
GROUP = "oche.stores"

_BUILT_IN = {
    "memory": "oche.stores.shared_memory:SharedMemoryStore",
    "files": "oche.stores.files:FileStore",
    "redis": "oche.stores.redis:RedisStore",
    "rediss": "oche.stores.redis:RedisStore",
    "valkey": "oche.stores.redis:RedisStore",
    "memcached": "oche.stores.memcached:MemcachedStore",
}


#: Environment variable with the URLs of stores as clients have them, user and password included; spaces between them.
SECRETS = "OCHE_STORE"


def open_store(url: str) -> Store:
    """Opens the store that the URL names.

    Raises `ConfigError` for an unknown scheme or a missing library, and what the driver raises.
    """
    driver: type[Store] = load_driver(url, drivers(GROUP, _BUILT_IN), "store")
    return driver.open(url)


def here_store() -> Store:
    """What the processes of this machine share, without being asked for: memory, or files where there is none such."""
    try:
        return open_store("memory:")
    except Unsupported:
        return open_store("files:")


def reach_store(url: str) -> Store:
    """Opens the store that a job names, with the user and password that OCHE_STORE has for it here.

    Jobs carry neither: whoever looks into the broker would read them. Raises as `open_store`.
    """
    same = (known for known in os.environ.get(SECRETS, "").split() if without_password(known) == url)
    return open_store(next(same, url))
