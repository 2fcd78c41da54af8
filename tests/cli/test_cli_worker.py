"""`oche worker`: says who it is, serves until told to stop, and takes no one's word without a key."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest
from cli_shell import Shell, until_lines

from farms import until
from oche.queues.opening import open_queue

TASKS = """
import oche

@oche.task
def double(x):
    return 2 * x
"""


def unsigned_job(task: str, id_: str, argument: object) -> bytes:
    """One call, as any language can write it."""
    job = {"type": "job", "v": 1, "task": task, "run": "r", "id": id_, "attempt": 0, "count": 1}
    return json.dumps({**job, "calls": [[argument]], "fingerprint": "", "reply": "oche.reply.r"}).encode()


def end(process: subprocess.Popen[str], code: int = 0) -> str:
    """SIGTERM; the rest of its log."""
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    return err


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_says_who_it_is_and_ends_with_0(shell: Shell, how: signal.Signals) -> None:
    process = shell.start("worker", "sqlite:///jobs.db?farm=night", "--slots", "2")
    try:
        line = until_lines(process, lambda line: "slots" in line)[-1]
        assert re.search(rf"worker \S+\.{process.pid}\.2: 2 slots on sqlite:///jobs.db", line)
        assert "farm night, takes signed jobs\n" in line
        until_lines(process, lambda line: "serves night.work" in line)
        process.send_signal(how)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "has ended" in err
    finally:
        process.kill()


def test_tasks_of_the_folder_it_was_started_in_are_found(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (shell.folder / "tasks_here.py").write_text(TASKS)
    url = f"sqlite:///{tmp_path}/jobs.db"
    process = shell.start("worker", url, "--slots", "1")
    try:
        out = shell.run("run", "tasks_here:double", "--range", "3", "--on", url).stdout
        assert out == "0\n2\n4\n"
        end(process)
    finally:
        process.kill()


def test_a_broker_elsewhere_needs_a_key(shell: Shell) -> None:
    # The address is for documentation: nothing listens there, and nothing is asked of it.
    done = shell.run("worker", "beanstalkd://192.0.2.1", code=2)
    assert "oche key" in done.stderr
    assert "OCHE_KEY" in done.stderr


def test_an_unsigned_worker_runs_marked_tasks_of_its_modules_only(shell: Shell, tmp_path: Path) -> None:
    (shell.folder / "lesson.py").write_text(TASKS)
    url = f"sqlite:///{tmp_path}/jobs.db"
    process = shell.start("worker", url, "--slots", "1", "--unsigned", "--tasks", "lesson")
    touched = shell.folder / "touched"
    try:
        until_lines(process, lambda line: "unsigned ones for lesson" in line)
        with open_queue(url) as queue:
            queue.put("oche.work", unsigned_job("lesson:double", "a", 21))
            queue.put("oche.work", unsigned_job("os:system", "b", f"touch {touched}"))
            answers = {}
            while len(answers) < 2:
                delivery = queue.reserve(["oche.reply.r"], 30.0)
                assert delivery is not None
                text = delivery.body.decode()
                answers["a" if '"job":"a"' in text else "b"] = text
                queue.delete(delivery)
        assert '"values":[42]' in answers["a"]
        assert "refused" in answers["b"]
        assert not touched.exists()
        end(process)
    finally:
        process.kill()


def test_a_memory_limit_ends_a_hog_by_name(shell: Shell, tmp_path: Path) -> None:
    (shell.folder / "hog.py").write_text("import time\ndef eat(x):\n    a = bytearray(10**9)\n    time.sleep(60)\n")
    url = f"sqlite:///{tmp_path}/jobs.db"
    process = shell.start("worker", url, "--slots", "1", "--memory-limit", "300M")
    try:
        assert "memory limit" in shell.run("run", "hog.py:eat", "--range", "1", "--on", url, code=1).stderr
        end(process)
    finally:
        process.kill()


def test_a_running_job_gets_its_grace(shell: Shell, tmp_path: Path) -> None:
    (shell.folder / "slow.py").write_text(
        "import pathlib, time\ndef nap(x):\n    pathlib.Path('begun').touch()\n    end = time.monotonic() + 15\n"
        "    while not pathlib.Path('told').exists() and time.monotonic() < end:\n        time.sleep(0.01)\n"
        "    return 'rest' if time.monotonic() < end else 'nobody came'\n"
    )
    url = f"sqlite:///{tmp_path}/jobs.db"
    process = shell.start("worker", url, "--slots", "1", "--grace", "20")
    try:
        client = shell.start("run", "slow.py:nap", "--range", "1", "--on", url)
        until(lambda: (shell.folder / "begun").exists(), "the job has begun")
        process.terminate()
        assert process.stderr is not None
        while "drains, 1 jobs running" not in (line := process.stderr.readline()):
            assert line, "the worker ended before it said that it drains"
        (shell.folder / "told").touch()
        _, log = process.communicate(timeout=30)
        assert process.returncode == 0, log
        out, err = client.communicate(timeout=30)
        assert (out, err) == ("rest\n", "")
    finally:
        process.kill()
