"""The same count of darts on RabbitMQ, though a whole worker is killed while they are thrown."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

import oche
from farms import Farm, until
from oche.testing.servers import Server

#: Hits of seed 0 in a hundred million and in a billion darts.
FEW, HITS = 78_539_933, 785_399_355


@pytest.mark.timeout(100)
def test_a_worker_killed_amid_the_darts_changes_no_digit(
    make_farm: Callable[..., Farm], shared_server: Callable[[str], Server | None]
) -> None:
    farm = make_farm("rabbitmq", slots=1, server=shared_server("rabbitmq"))
    with farm.connect() as cluster, ThreadPoolExecutor(1) as pool:
        assert oche.pi(10**8, cluster=cluster).inside == FEW
        thrown = pool.submit(oche.pi, 10**9, cluster=cluster)
        with contextlib.suppress(TimeoutError):
            thrown.result(0.3)
        crew = until(lambda: farm.children() or thrown.done(), "there is somebody to kill")
        farm.workers[0].kill()
        for child in crew if crew is not True else []:
            child.kill()
        farm.worker("--slots", "1")
        assert thrown.result(60).inside == HITS
