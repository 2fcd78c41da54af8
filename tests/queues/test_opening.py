"""From a URL to a queue."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from oche.errors import ConfigError
from oche.queues.opening import local_host, open_queue, schemes
from oche.queues.sqlite import SQLiteQueue
from oche.testing.servers import Beanstalkd, missing


def test_the_scheme_names_the_driver(tmp_path: Path) -> None:
    with open_queue(f"sqlite:///{tmp_path}/queue.db") as queue:
        assert isinstance(queue, SQLiteQueue)
    missing("beanstalkd", "greenstalk")
    with Beanstalkd() as server, open_queue(server.url) as queue:
        assert type(queue).__name__ == "BeanstalkdQueue"


def test_an_unknown_scheme_is_answered_with_the_known_ones() -> None:
    for url in ("nonsense://x", "", "just/a/path"):
        known = r"amqp, amqps, beanstalkd, gearman, nsq, nsq\+lookupd, redis, rediss, sqlite, valkey"
        with pytest.raises(ConfigError, match=known):
            open_queue(url)


def test_a_driver_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("oche.queues.beanstalkd")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "greenstalk", None)
    with pytest.raises(ConfigError, match=r"pip install 'oche\[beanstalkd\]'"):
        open_queue("beanstalkd://localhost")


def test_the_drivers_of_this_package_are_found_without_its_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: ())
    assert {"sqlite", "beanstalkd"} <= set(schemes())


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("sqlite:///a.db", True),
        ("sqlite:////tmp/a.db", True),
        ("beanstalkd://localhost", True),
        ("beanstalkd://127.0.0.1:11300", True),
        ("beanstalkd://127.8.9.1", True),
        ("beanstalkd://[::1]:1", True),
        ("redis+unix:///run/redis.sock", True),
        ("nsq://127.0.0.1:4150,[::1]:4150,localhost", True),
        ("nsq://127.0.0.1:4150,node7:4150", False),
        ("nsq+lookupd://127.0.0.1:4161", False),
        ("beanstalkd://0.0.0.0", False),
        ("beanstalkd://10.0.0.1", False),
        ("beanstalkd://node7", False),
        ("beanstalkd://localhost.example.org", False),
        ("beanstalkd://127.0.0.1.example.org", False),
    ],
)
def test_what_is_on_this_machine_for_certain(url: str, local: bool) -> None:
    assert local_host(url) is local
