"""Help, usage errors, exit codes: what a user meets first."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

import pytest
from cli_shell import Shell

from farms import until
from oche.cli.main import VERBS
from oche.testing.servers import free_port, missing


def test_help_tells_verbs_urls_examples_and_exit_codes(shell: Shell) -> None:
    out = shell.run("--help").stdout
    for verb in VERBS:
        assert f"\n  {verb} " in out
    for word in ("beanstalkd://", "sqlite:///", "local:", "OCHE_URL", "Examples:", "Exit codes:", "130"):
        assert word in out
    assert max(map(len, out.splitlines())) <= 100
    assert shell.run().stdout == out


def test_help_brings_nothing_heavy_along() -> None:
    code = (
        "import sys; from oche.cli.main import main; main(['--help']); "
        "print([m for m in ('numpy', 'numba', 'rich', 'msgspec', 'sqlite3', 'oche.cluster') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "verb", [*VERBS, "jobs peek", "jobs kick", "jobs bury", "jobs delete", "runs list", "runs resume"]
)
def test_each_verb_explains_itself(shell: Shell, verb: str) -> None:
    out = shell.run(*verb.split(), "--help").stdout
    assert out.startswith(f"Usage: oche {verb}")


def test_a_mistyped_verb_is_guessed(shell: Shell) -> None:
    assert shell.run("statu", code=2).stderr == "oche: no verb 'statu' (did you mean 'status'?); see `oche --help`\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("pi", "1.5"), "'1.5' is not a whole number"),
        (("pi", "many"), "'many' is not a number"),
        (("pi", "0"), "'0' is too few"),
        (("pi", "10", "--workers", "0"), "'0' is too few"),
        (("status", "carrier-pigeon://x"), "carrier-pigeon"),
        (("pi", "10", "--on", "sqlite:///q.db", "--workers", "2"), "oche worker sqlite:///q.db"),
        (("status", "local:"), "cannot be reached from here"),
        (("status", "dask://host"), "cannot be reached from here"),
        (("status",), "URL"),
        (("run", "work.py"), "FILE:FUNCTION"),
        (("run", "work.py:cube"), "its functions: Size, die, echo"),
        (("run", "nowhere.py:f"), "nowhere.py"),
        (("run", "nowhere_at_all:f"), "no module 'nowhere_at_all'"),
        (("run", "work.py:square", "--range", "5:2"), "--range 5:2"),
        (("runs", "show", "nobody"), "no run 'nobody'"),
        (("worker", "sqlite:///q.db", "--memory-limit", "much"), "'much' is not a size"),
        (("worker", "sqlite:///q.db", "--unsigned"), "--tasks MODULE"),
        (("worker", "sqlite:///q.db", "--tasks", "math"), "add --unsigned"),
        (("worker", "sqlite:///q.db", "--unsigned", "--tasks", "nowhere_at_all"), "no such module"),
        (("worker", "local:"), "local:"),
    ],
)
def test_wrong_usage_is_one_clean_line_and_2(shell: Shell, arguments: tuple[str, ...], told: str) -> None:
    done = shell.run(*arguments, code=2)
    assert done.stdout == ""
    assert done.stderr.startswith("oche: ")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_debug_shows_where_an_error_came_from(shell: Shell) -> None:
    assert "Traceback" in shell.run("status", "local:", "--debug", code=2).stderr


@pytest.mark.parametrize("verb", [("status",), ("jobs", "peek"), ("worker",)])
def test_a_dead_broker_is_3_within_seconds(shell: Shell, verb: tuple[str, ...]) -> None:
    missing(package="greenstalk")
    began = time.monotonic()
    done = shell.run(*verb, f"beanstalkd://127.0.0.1:{free_port()}", code=3)
    assert time.monotonic() - began < 10
    assert done.stderr.startswith("oche: ")


def test_a_silent_broker_is_3_within_seconds(shell: Shell) -> None:
    missing(package="greenstalk")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        began = time.monotonic()
        shell.run("status", f"beanstalkd://127.0.0.1:{mute.getsockname()[1]}", code=3)
        assert time.monotonic() - began < 20


@pytest.mark.parametrize("reading", ["range", "stdin"])
def test_ctrl_c_is_130_and_leaves_no_child(shell: Shell, reading: str) -> None:
    import psutil

    arguments = ["--range", "10"] if reading == "range" else []
    process = shell.start("run", "work.py:forever", "--workers", "2", *arguments, stdin=subprocess.PIPE)
    try:
        children = until(
            lambda: (found := psutil.Process(process.pid).children()) and len(found) == 2 and found, "two children"
        )
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert (out, err.strip()) == ("", "oche: stopped")
    until(lambda: not any(child.is_running() for child in children), "the children are gone")


def test_a_reader_that_leaves_ends_it_quietly(shell: Shell) -> None:
    # `head` is gone after one line, and a million are to come.
    command = [*shell.command("run", "work.py:square", "--range", "1e6", "--workers", "1")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=shell.folder, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "0\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) == 1
