"""From a URL to an open queue. The drivers are entry points, so that others can bring theirs."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from ipaddress import ip_address
from urllib.parse import urlsplit

from oche.errors import ConfigError
from oche.plugins import drivers, load_driver
from oche.queues.seam import Queue

#: Name of the entry points: scheme = "module:QueueClass".
GROUP = "oche.queues"

_BUILT_IN = {
    "sqlite": "oche.queues.sqlite:SQLiteQueue",
    "beanstalkd": "oche.queues.beanstalkd:BeanstalkdQueue",
    "redis": "oche.queues.redis:RedisQueue",
    "rediss": "oche.queues.redis:RedisQueue",
    "valkey": "oche.queues.redis:RedisQueue",
    "amqp": "oche.queues.rabbitmq:RabbitMQQueue",
    "amqps": "oche.queues.rabbitmq:RabbitMQQueue",
    "gearman": "oche.queues.gearman:GearmanQueue",
    "nsq": "oche.queues.nsq:NSQQueue",
    "nsq+lookupd": "oche.queues.nsq:NSQQueue",
}


def schemes() -> dict[str, EntryPoint]:
    """The known schemes and their drivers: those of this package, and those that others installed."""
    return drivers(GROUP, _BUILT_IN)


def open_queue(url: str) -> Queue:
    """Opens the queue that the URL names.

    Raises as `driver` does, `ConfigError` for a URL that cannot be right, and `Disconnected` if nobody answers there.
    """
    return driver(url).open(url)


def find_queue(url: str) -> Queue:
    """As `open_queue`, for who only looks: raises `ConfigError` where that would make the broker, which is a file."""
    if lack := driver(url).missing(url):
        raise ConfigError(f"{lack}; mend the path, or start a worker, which makes it: `oche worker {url}`")
    return open_queue(url)


def driver(url: str) -> type[Queue]:
    """The driver for the URL's scheme. Raises `ConfigError` for an unknown one, or if its library is missing."""
    found: type[Queue] = load_driver(url, schemes(), "queue")
    return found


def local_host(url: str) -> bool:
    """True if all that the URL names is on this machine for certain: files, unix sockets or loopback addresses."""
    parts = urlsplit(url)
    if parts.scheme.endswith("+lookupd"):  # it may name any host
        return False
    return all(_is_local(urlsplit(f"//{place}").hostname) for place in parts.netloc.rpartition("@")[2].split(","))


def _is_local(host: str | None) -> bool:
    if not host or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
