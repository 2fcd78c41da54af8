"""`oche stream`: feed, run and read a pipeline from the shell."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from cli_shell import BOUND, Shell, until_lines

STAGES = """
from oche.streams import stage


@stage("numbers", channel="a", to=("even", "odd"), retries=0)
def sort_out(message):
    number = message["number"]
    return "odd" if number % 2 else "even", {**message, "half": number // 2}
"""


def test_a_pipeline_from_the_shell(shell: Shell, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    (shell.folder / "stages.py").write_text(STAGES)
    lines = "".join(f'{{"number": {number}}}\n' for number in range(50)) + '\n{"nummer": 7}'
    assert "published 51 messages" in shell.run("stream", "publish", "numbers", "--on", url, stdin=lines).stderr
    assert json.loads(shell.run("stream", "depth", "numbers", "--on", url, "--json").stdout) == {"numbers": 51}
    shell.run("stream", "run", "stages.py", "--on", url, "--slots", "1", "--until-idle", "0.5")
    done = shell.run("stream", "read", "odd", "--channel", "c", "--on", url, "--limit", "3")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"number": number, "half": number // 2} for number in (1, 3, 5)
    ]
    done = shell.run("stream", "read", "odd", "--channel", "c", "--timeout", "0.1", OCHE_URL=url)
    assert len(done.stdout.splitlines()) == 22
    (letter,) = shell.run(
        "stream", "read", "numbers.dead", "--channel", "c", "--on", url, "--timeout", "0.1"
    ).stdout.splitlines()
    assert json.loads(letter)["reason"] == "KeyError: 'number'"
    assert json.loads(letter)["message"] == {"nummer": 7}
    shell.run("stream", "remove", "odd", "--channel", "c", "--on", url)
    assert "waiting" in shell.run("stream", "depth", "even", "odd", "--on", url).stdout


def test_a_signal_ends_it(shell: Shell, tmp_path: Path) -> None:
    (shell.folder / "stages.py").write_text(STAGES)
    process = shell.start("stream", "run", "stages", "--on", f"sqlite:///{tmp_path}/jobs.db", "--slots", "2")
    until_lines(process, lambda line: "runs numbers/a" in line)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=BOUND)
    assert process.returncode == 0


def test_what_cannot_be_right_is_told_of(shell: Shell, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    done = shell.run("stream", "publish", "numbers", "--on", url, stdin="1\n2\nthree\n4\n", code=2)
    assert "line 3 is not JSON" in done.stderr
    assert "2 lines before it are published" in done.stderr
    assert json.loads(shell.run("stream", "depth", "numbers", "--on", url, "--json").stdout) == {"numbers": 2}
    assert "topic 'a b' cannot be used" in shell.run("stream", "publish", "a b", "--on", url, stdin="1", code=2).stderr
    assert "nowhere.py cannot be read" in shell.run("stream", "run", "nowhere.py", "--on", url, code=2).stderr
    assert "no brokers" not in shell.run("stream", "depth", "t", "--on", "redis://127.0.0.1:1", code=3).stderr
