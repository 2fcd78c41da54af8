"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

for _module in ("queue_rig", "queue_jobs", "queue_model", "queue_suite", "streams_suite"):
    pytest.register_assert_rewrite(f"oche.testing.{_module}")
for _module in ("executor_rig", "executor_suite", "cluster_suite"):
    pytest.register_assert_rewrite(f"oche.testing.{_module}")

from oche.testing.servers import Beanstalkd, missing  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The rooms whose tests take longest come first, so that no process is left with one of them at the end."""
    items.sort(key=lambda item: item.path.parent.name not in ("faults", "streams", "engines", "cli"))


@pytest.fixture
def beanstalkd() -> Iterator[Beanstalkd]:
    """A running beanstalkd of this test's own; skips where there is none."""
    missing("beanstalkd", "greenstalk")
    with Beanstalkd() as server:
        yield server
