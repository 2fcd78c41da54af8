"""Every test of the client runs on every engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import oche
from farms import Farm

ENGINES = ["local", "sqlite", "beanstalkd", "redis", "gearman"]


@pytest.fixture(params=ENGINES)
def farm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Farm]:
    farm = Farm(request.param, tmp_path)
    try:
        yield farm
    finally:
        farm.close()


@pytest.fixture
def cluster(farm: Farm) -> Iterator[oche.Cluster]:
    with farm.connect() as cluster:
        yield cluster
