"""`oche pi`: the same integer everywhere, and a bar for people only."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess

import pytest
from cli_shell import Shell

from farms import Farm

#: Of 10**7 darts of seed 0, by the plain kernel.
N, SEED = 10**7, 0


@pytest.fixture(scope="module")
def inside() -> int:
    from oche.kernels.darts import count

    return count(0, N, SEED, memoryview(bytearray(1)))


def test_the_count_is_the_same_on_every_engine(shell: Shell, farm: Farm, inside: int) -> None:
    farm.worker("--slots", "2")
    here = json.loads(shell.run("pi", "1e7", "--workers", "1", "--json").stdout)
    there = json.loads(shell.run("pi", "10_000_000", "--json", OCHE_URL=farm.url).stdout)
    assert here["inside"] == there["inside"] == inside
    assert (here["n"], here["seed"]) == (N, SEED)
    low, high = here["interval"]
    assert low < here["estimate"] < high
    assert here["contains_pi"] is (low < 3.141592653589793 < high)


def test_text_tells_estimate_interval_and_count(shell: Shell, inside: int) -> None:
    done = shell.run("pi", "1e7", "--workers", "2")
    assert done.stdout.startswith("pi = 3.14")
    assert "95 % interval" in done.stdout
    assert f"{inside:,} of 10,000,000 darts inside (seed 0)" in done.stdout
    assert done.stderr == ""
    assert "\x1b" not in done.stdout


class Terminal:
    """A command whose stderr is a terminal; `shown` is what that got, without control codes."""

    def __init__(self, shell: Shell, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
        self.process = subprocess.Popen(
            shell.command(*arguments),
            cwd=shell.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=slave,
            text=True,
        )
        os.close(slave)
        self._raw = b""

    @property
    def shown(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self._raw.decode(errors="replace"))

    def read(self, until: str | None = None) -> None:
        """To the end, or until a pattern is shown."""
        try:
            while until is None or not re.search(until, self.shown):
                if not (chunk := os.read(self._master, 65536)):
                    break
                self._raw += chunk
        except OSError:  # the terminal's other side is closed: Linux says EIO
            pass

    def end(self) -> str:
        """What it printed on stdout; its exit code is then known."""
        self.read()
        os.close(self._master)
        return self.process.communicate(timeout=30)[0]


@pytest.mark.parametrize("quiet", [False, True])
def test_a_terminal_gets_a_bar_on_stderr_unless_quiet(shell: Shell, quiet: bool) -> None:
    terminal = Terminal(shell, "pi", "2e9", "--workers", "2", *["--quiet"] * quiet)
    out = terminal.end()
    assert terminal.process.returncode == 0
    assert out.startswith("pi = ")
    if quiet:
        assert terminal.shown == ""
    else:
        assert re.search(r"pi .*\d+ % 3\.\d+ ± 0\.\d+ .* M darts/s +\d+:\d\d left", terminal.shown)


def test_who_waits_for_workers_is_told_above_the_bar(shell: Shell) -> None:
    terminal = Terminal(shell, "pi", "1e9", "--on", "sqlite:///jobs.db")
    terminal.read(until=r"[\r\n]oche: no worker watches [^\n]*\n")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == ""
    assert terminal.process.returncode == 130


def test_a_named_run_is_resumed(shell: Shell) -> None:
    first = json.loads(shell.run("pi", "3e8", "--workers", "2", "--run", "night", "--json").stdout)
    again = json.loads(shell.run("pi", "3e8", "--workers", "2", "--run", "night", "--json").stdout)
    assert again["inside"] == first["inside"]
    (run,) = json.loads(shell.run("runs", "list", "--json").stdout)
    assert (run["name"], run["pieces"]) == ("night", run["finished"])
