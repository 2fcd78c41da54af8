"""The published pipeline on RabbitMQ, which takes too long to start for a kill."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from pipelines import run_published

from farms import Farm
from oche.testing.servers import Server


def test_the_published_pipeline_on_rabbitmq_while_workers_are_killed(
    tmp_path: Path, shared_server: Callable[[str], Server | None]
) -> None:
    with closing(Farm("rabbitmq", tmp_path, server=shared_server("rabbitmq"))) as farm:
        run_published(farm, 2_000)
