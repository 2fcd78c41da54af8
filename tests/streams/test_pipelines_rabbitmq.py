"""The published pipeline on RabbitMQ, which takes too long to start for a kill."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from pipelines import run_published

from farms import Farm


def test_the_published_pipeline_on_rabbitmq_while_workers_are_killed(tmp_path: Path) -> None:
    with closing(Farm("rabbitmq", tmp_path)) as farm:
        run_published(farm, 2_000)
