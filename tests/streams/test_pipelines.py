"""The published pipeline where streams are made of jobs; beanstalkd, which keeps them on disk, is killed, too."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from pipelines import run_published

import oche
from farms import BOUND, Farm


def test_the_published_pipeline_on_beanstalkd_while_workers_and_broker_are_killed(tmp_path: Path) -> None:
    with closing(Farm("beanstalkd", tmp_path)) as farm:
        run_published(farm, 10_000, restart=True)


@pytest.mark.parametrize("engine", ["sqlite", "gearman"])
def test_the_published_pipeline_on_other_queues_while_workers_are_killed(engine: str, tmp_path: Path) -> None:
    with closing(Farm(engine, tmp_path)) as farm:
        run_published(farm, 2_000)


def test_a_message_that_kills_its_whole_node_is_given_up_and_the_others_go_on(tmp_path: Path) -> None:
    file = tmp_path / "deadly.py"
    file.write_text(
        "import os, signal\nfrom oche.streams import stage\n"
        '@stage("t", channel="c", to="out", retries=1)\n'
        "def deadly(message):\n"
        "    if message == 13:\n"
        "        os.kill(os.getppid(), signal.SIGKILL)\n"
        "    return message\n"
    )
    url = f"sqlite:///{tmp_path}/jobs.db"
    command = [
        sys.executable,
        "-m",
        "oche",
        "stream",
        "run",
        str(file),
        "--on",
        url,
        "--slots",
        "1",
        "--until-idle",
        "1",
    ]
    with oche.streams.connect(url) as streams:
        streams.publish("t", *range(10, 20))
        codes = []
        while 0 not in codes:
            assert len(codes) < 5
            codes.append(subprocess.run(command, cwd=tmp_path, timeout=BOUND, check=False).returncode)
        assert set(codes) == {-signal.SIGKILL, 0}
        (letter,) = streams.read("t.dead", channel="test", timeout=0.1)
        assert letter["message"] == 13
        assert "lost its worker 2 times" in letter["reason"]
        others = set(range(10, 20)) - {13}
        assert set(streams.read("out", channel="test", timeout=0.1)) == others
