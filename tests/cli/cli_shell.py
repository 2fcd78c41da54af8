"""The command as a user runs it: a process of its own, with a key and journals of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

#: Seconds in which any command of these tests must have ended.
BOUND = 60.0

WORK = '''
"""Functions for `oche run`; workers cannot import this file."""

from __future__ import annotations

import dataclasses
import os
import signal
import time


@dataclasses.dataclass
class Size:
    width: int
    height: int | None = None


def helper(x):
    return x * x


def square(x):
    return helper(int(x))


def picky(x):
    if int(x) % 3 == 0:
        raise ValueError(f"bad {x}")
    return int(x)


def size(x):
    print("printed by the task")
    return Size(int(x))


def echo(line):
    return line


def late(x):
    end = time.monotonic() + 30
    open(f"late.{int(x)}", "w").close()
    while int(x) == 0 and not os.path.exists("gate") and time.monotonic() < end:
        time.sleep(0.01)
    return int(x)


def forever(x):
    time.sleep(3600)


def die(x):
    os.kill(os.getpid(), signal.SIGKILL)
'''


@dataclass(frozen=True)
class Shell:
    """Runs `oche ...` in a folder."""

    folder: Path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "oche", *arguments]

    def run(
        self, *arguments: str, stdin: str = "", code: int = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs to the end and checks the exit code."""
        raw = subprocess.run(
            self.command(*arguments),
            input=stdin.encode(errors="surrogateescape"),
            capture_output=True,
            cwd=self.folder,
            env={**os.environ, **environment},
            timeout=BOUND,
        )
        # By hand, since text mode would change the ends of lines.
        out, err = (data.decode(errors="surrogateescape") for data in (raw.stdout, raw.stderr))
        done = subprocess.CompletedProcess(raw.args, raw.returncode, out, err)
        assert done.returncode == code, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        if "--debug" not in arguments:
            assert "Traceback" not in done.stderr
        return done

    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """Starts it; the test must end it."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.command(*arguments), stdin=stdin, stdout=pipe, stderr=pipe, text=True, cwd=self.folder
        )


def until_lines(process: subprocess.Popen[str], wanted: Callable[[str], bool]) -> list[str]:
    """Lines of stderr up to the first wanted one; fails if the process ends before."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if wanted(line):
            return lines
    raise AssertionError(f"ended without the line: {lines}")
