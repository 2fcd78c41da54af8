"""The published pipeline on Redis, which is killed, too."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from pipelines import run_published

from farms import Farm


def test_the_published_pipeline_on_redis_while_workers_and_broker_are_killed(tmp_path: Path) -> None:
    with closing(Farm("redis", tmp_path)) as farm:
        run_published(farm, 2_000, restart=True)
