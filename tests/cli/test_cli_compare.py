"""`oche compare`: tables, pictures, JSON, progress; and Ctrl-C, after which nobody is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from cli_shell import BOUND, Shell, until_lines

from farms import until

NUMBERS = f"{5 * 2_000_003},{1009 * 1013},4000037"


def test_primes_are_shown_drawn_and_announced(shell: Shell) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'oche[plot]'")
    arguments = ("--runs", "1", "--processes", "2", "--numbers", NUMBERS, "--only", "pool,local,kernel-byte")
    done = shell.run("compare", "primes", *arguments, "--plot", "bars.png", "--plot", "bars.svg")
    assert done.stdout.startswith("Is it prime? 2 processes, the best of 1 runs; beside the row 'pool'\n")
    assert "published: " in done.stdout
    assert "the byte costs the compiled kernel at most 1 % on the primes: " in done.stdout
    assert "oche: this takes about " in done.stderr
    assert (shell.folder / "bars.png").stat().st_size > 1000
    assert (shell.folder / "bars.svg").read_text().startswith("<?xml")


def test_primes_as_json(shell: Shell) -> None:
    done = shell.run(
        "compare", "primes", "--runs", "1", "--numbers", NUMBERS, "--only", "serial,strong-test", "--json", "--quiet"
    )
    plain = json.loads(done.stdout)
    assert list(plain["rows"]) == ["serial", "strong-test"]
    assert [number["factor"] for number in plain["numbers"]] == [5, 1009, None]
    assert done.stderr == ""


def test_arrays(shell: Shell) -> None:
    done = shell.run("compare", "arrays", "--shape", "200x10000", "--processes", "2")
    assert "200 x 10,000 float64, 16.00 MB, in 2 processes" in done.stdout
    assert "100 rows each, 0 rows left" in done.stdout
    assert "oche: looking at the memory" in done.stderr


def test_counters(shell: Shell) -> None:
    done = shell.run("compare", "counters", "--processes", "2", "--increments", "30", "--seed", "3")
    assert "2 processes add 1 30 times each" in done.stdout
    assert "yes: with a lock, or oche's Counter, no update is lost" in done.stdout
    assert "seed 3" in done.stdout


def test_what_cannot_be_compared_is_said(shell: Shell) -> None:
    for arguments, text in (
        (("primes", "--only", "mmmap"), "no row is called 'mmmap'"),
        (("primes", "--numbers", "7,x"), "are no numbers; write them as"),
        (("primes", "--numbers", "1"), "take numbers from 2"),
        (("primes", "--plot", "bars.gif"), "no name for a picture"),
        (("arrays", "--shape", "100"), "write ROWSxCOLUMNS"),
        (("arrays", "--shape", "1x100", "--processes", "2"), "a row or more for each"),
        (("counters", "--processes", "1"), "take 2 processes or more"),
    ):
        assert text in shell.run("compare", *arguments, code=2).stderr


def test_on_a_terminal_the_table_fits(shell: Shell) -> None:
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    command = shell.command("compare", "primes", "--runs", "1", "--numbers", NUMBERS, "--only", "serial,pool")
    process = subprocess.Popen(command, cwd=shell.folder, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave)
    os.close(slave)
    text = b""
    while True:
        try:
            text += (data := os.read(master, 65536))
        except OSError:  # its end
            break
        if not data:
            break
    os.close(master)
    assert process.wait(BOUND) == 0
    assert b"serial" in text
    assert b"Is it prime?" in text


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_ctrl_c_ends_all_processes(shell: Shell) -> None:
    command = shell.command("compare", "primes", "--runs", "5", "--only", "pool,manager,redis,kernel-byte")
    process = subprocess.Popen(
        command, cwd=shell.folder, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    lines = until_lines(process, lambda line: "this takes about" in line)
    assert len(lines) == 1
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) > 4
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=BOUND)
    assert (process.returncode, out, err.strip()) == (130, "", "oche: stopped")
    until(lambda: not [child for child in family if child.is_running()], "all of them end", seconds=5)
    left = [path for path in Path("/tmp").glob("oche-*") if path.stat().st_ctime > psutil.Process().create_time()]
    assert [path for path in left if path.name.startswith(("oche-redis-", "oche-flag-"))] == []
