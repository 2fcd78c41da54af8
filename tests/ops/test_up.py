"""`oche up` and `oche down`: clusters for trying come up, answer, and leave nothing behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import oche
from farms import until
from oche.cli.main import main
from oche.errors import ConfigError, Disconnected
from oche.ops import up
from oche.servers.kinds import KINDS
from oche.testing.servers import missing


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """Where these tests' clusters are known; all of them are ended."""
    yield tmp_path / "state"
    for kind in KINDS:
        up.stop(kind)


def marked(state: Path) -> list[psutil.Process]:
    """The processes that carry the mark of a cluster of ours."""
    found = []
    for process in psutil.process_iter():
        try:
            mine = process.environ().get(up.MARK, "").startswith(str(state))
            if mine and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("kind", ["sqlite", "beanstalkd"])
def test_up_and_down(kind: str, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if kind == "beanstalkd":
        missing("beanstalkd", "greenstalk")
    assert main(["up", kind, "-n", "2"]) == 0
    url = capsys.readouterr().out.strip()
    with oche.connect(url) as cluster:
        assert list(cluster.map(abs, range(-5, 0))) == [5, 4, 3, 2, 1]
    assert main(["up", kind]) == 0  # there is one of each
    told = capsys.readouterr()
    assert (told.out.strip(), "was up already, with 2 workers" in told.err) == (url, True)
    assert main(["up"]) == 0
    assert url in capsys.readouterr().out
    assert main(["down"]) == 0
    assert f"{kind} is down" in capsys.readouterr().err
    assert marked(state) == []
    assert not (state / "up" / kind).exists()
    assert main(["down", kind]) == 0
    assert f"{kind} was not up" in capsys.readouterr().err


def test_a_keeper_that_is_killed_leaves_nothing_that_down_does_not_find(state: Path) -> None:
    missing("beanstalkd", "greenstalk")
    cluster, before = up.start("beanstalkd", 1)
    assert not before
    (stray,) = [one for one in marked(state) if one.name() == "beanstalkd"]
    os.kill(cluster.pid, signal.SIGKILL)
    until(lambda: up.look("beanstalkd") is None, "its lock is free")
    until(lambda: not stray.is_running() or stray.status() == psutil.STATUS_ZOMBIE, "the broker ends with its keeper")
    assert up.stop("beanstalkd") is None
    assert marked(state) == []
    again, before = up.start("beanstalkd", 1)
    assert not before
    assert again.pid != cluster.pid


def test_what_cannot_be_started(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="nothing to start for local"):
        up.start("local", 2)
    with pytest.raises(ConfigError, match="there are sqlite, beanstalkd"):
        up.start("slurm", 2)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Disconnected, match="redis-server is not installed here"):
        up.start("redis", 2)
    assert marked(state) == []
    assert up.running() == []
