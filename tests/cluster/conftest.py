"""Every test of the client runs on every engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import oche
from farms import Farm
from oche.testing.servers import Server

ENGINES = ["local", "sqlite", "beanstalkd", "redis", "rabbitmq", "gearman", "nsq"]


@pytest.fixture(scope="module", params=ENGINES)
def farm(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    shared_server: Callable[[str], Server | None],
) -> Iterator[Farm]:
    """For all tests of a file, one after the other: to start a worker takes longer than most of them."""
    farm = Farm(request.param, tmp_path_factory.mktemp("farm"), server=shared_server(request.param))
    try:
        yield farm
    finally:
        farm.close()


@pytest.fixture
def cluster(farm: Farm) -> Iterator[oche.Cluster]:
    with farm.connect() as cluster:
        yield cluster
