"""From a URL to open topics: native ones where the broker knows topics and channels, else made up on its queue."""

from __future__ import annotations

import importlib
from urllib.parse import urlsplit

from oche.errors import ConfigError
from oche.queues.opening import open_queue
from oche.streams.queued import QueueTopics
from oche.streams.seam import Topics

_NATIVE = {
    "redis": "oche.streams.redis:RedisTopics",
    "rediss": "oche.streams.redis:RedisTopics",
    "valkey": "oche.streams.redis:RedisTopics",
    "amqp": "oche.streams.rabbitmq:RabbitMQTopics",
    "amqps": "oche.streams.rabbitmq:RabbitMQTopics",
    "nsq": "oche.streams.nsq:NSQTopics",
    "nsq+lookupd": "oche.streams.nsq:NSQTopics",
}
#: Package that a driver needs -> the extra that brings it.
_EXTRAS = {"redis": "redis", "pika": "rabbitmq", "nsq": "nsq"}


def open_topics(url: str) -> Topics:
    """Opens the topics that the URL names; `local:` are new ones inside of this process.

    Raises `ConfigError` for a URL that cannot be right or a package that is missing, and `Disconnected`.
    """
    scheme = urlsplit(url).scheme
    if scheme == "local":
        from oche.queues.memory import MemoryQueue

        return QueueTopics(MemoryQueue())
    if scheme not in _NATIVE:
        return QueueTopics(open_queue(url))
    module, _, name = _NATIVE[scheme].partition(":")
    try:
        found: type[Topics] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            raise
        raise ConfigError(
            f"{scheme} needs the package {error.name!r}, which is not installed; run "
            f"pip install 'oche[{_EXTRAS[error.name]}]'"
        ) from error
    return found.open(url)
