"""Farms to break, and the chance that breaks them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farms import Farm
from oche.testing.servers import Server


@pytest.fixture
def make_farm(tmp_path: Path) -> Iterator[Callable[..., Farm]]:
    """Farms by `make_farm(engine, slots=2)`, each in a folder of its own; all closed at the end."""
    farms: list[Farm] = []

    def make(engine: str, *, slots: int = 2, server: Server | None = None) -> Farm:
        folder = tmp_path / f"farm{len(farms)}"
        folder.mkdir()
        farms.append(Farm(engine, folder, slots=slots, server=server))
        return farms[-1]

    yield make
    for farm in reversed(farms):
        farm.close()


@pytest.fixture(params=["local", "sqlite", "beanstalkd", "redis", "rabbitmq", "gearman", "nsq"])
def farm(
    request: pytest.FixtureRequest, make_farm: Callable[..., Farm], shared_server: Callable[[str], Server | None]
) -> Farm:
    """One farm of two slots. `parametrize("farm", [...], indirect=True)` chooses other engines than all."""
    return make_farm(request.param, server=shared_server(request.param))


@pytest.fixture
def chance() -> random.Random:
    """Randomness whose seed is printed, and is `OCHE_SEED` where that is set."""
    seed = int(os.environ.get("OCHE_SEED") or random.SystemRandom().randrange(2**32))
    print(f"OCHE_SEED={seed}")
    return random.Random(seed)
