"""Who computes: a test that asks for `cluster` runs once on each kind that its module lists in CLUSTERS."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from farms import Farm

CLUSTERS = ["here", "threads", "processes", "local"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cluster" in metafunc.fixturenames and not hasattr(metafunc.module, "cluster"):
        kinds = getattr(metafunc.module, "CLUSTERS", CLUSTERS)
        metafunc.parametrize("cluster", kinds, indirect=True, scope="module")


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor | None]:
    """No executor, one of the standard library's, or a farm with two slots on an engine of this name."""
    if request.param == "here":
        yield None
    elif request.param == "threads":
        with ThreadPoolExecutor(2) as pool:
            yield pool
    elif request.param == "processes":
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield pool
    else:
        farm = Farm(request.param, tmp_path_factory.mktemp("farm"))
        try:
            with farm.connect() as opened:
                yield opened
        finally:
            farm.close()
