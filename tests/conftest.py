"""What all tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

for _module in ("queue_rig", "queue_jobs", "queue_model", "queue_suite", "streams_suite"):
    pytest.register_assert_rewrite(f"oche.testing.{_module}")
for _module in ("executor_rig", "executor_suite", "cluster_suite"):
    pytest.register_assert_rewrite(f"oche.testing.{_module}")

from oche.testing.servers import Beanstalkd, RabbitMQ, Server, missing  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The rooms whose tests take longest come first, so that no process is left with one of them at the end."""
    items.sort(key=lambda item: item.path.parent.name not in ("faults", "streams", "engines", "cli"))


@pytest.fixture
def beanstalkd() -> Iterator[Beanstalkd]:
    """A running beanstalkd of this test's own; skips where there is none."""
    missing("beanstalkd", "greenstalk")
    with Beanstalkd() as server:
        yield server


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server | None]]:
    """By `shared_server(engine)`: what takes seconds to start, for all tests that do not break it; None for others."""
    with ExitStack() as stack:

        @cache
        def server(engine: str) -> Server | None:
            if engine != "rabbitmq":
                return None
            missing("rabbitmq-server", "pika")
            return stack.enter_context(RabbitMQ(tmp_path_factory.mktemp("rabbitmq")))

        yield server
