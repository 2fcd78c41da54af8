"""A shell with a key and journals of its own, and farms to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_shell import WORK, Shell

import oche
from farms import Farm
from oche.queues.opening import open_queue


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    source = str(Path(oche.__file__).parent.parent)
    monkeypatch.setenv("PYTHONPATH", source)
    monkeypatch.setenv("OCHE_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("OCHE_STATE_DIR", str(tmp_path / "state"))
    for name in ("OCHE_URL", "OCHE_KEY", "OCHE_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "work.py").write_text(WORK)
    return Shell(folder)


@pytest.fixture(params=["sqlite", "beanstalkd"])
def farm(request: pytest.FixtureRequest, tmp_path: Path, shell: Shell) -> Iterator[Farm]:
    """A broker; workers are started by the test."""
    folder = tmp_path / "farm"
    folder.mkdir()
    farm = Farm(request.param, folder)
    open_queue(farm.url).close()  # verbs that only look make no file
    try:
        yield farm
    finally:
        farm.close()
