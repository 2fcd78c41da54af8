"""`oche wordcount`: the words, their counts, and which file it was."""

from __future__ import annotations

import json

import pytest
from cli_shell import Shell

from farms import Farm

TEXT = "the oche, the bull; the line — double top\n" * 50 + "bull\n"


@pytest.fixture
def text(shell: Shell) -> str:
    (shell.folder / "text").write_text(TEXT)
    (shell.folder / "more").write_text("Bull bull")
    return "text"


def test_text_tells_the_most_frequent_words_and_totals(shell: Shell, text: str) -> None:
    done = shell.run("wordcount", text, "more", "--top", "3", "--workers", "2")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[:4] == [["count", "word"], ["150", "the"], ["52", "bull"], ["50", "double"]]
    assert done.stdout.splitlines()[4] == "403 words, 7 of them distinct, in 2 files"
    assert lines[5][1] == "s,"
    assert lines[5][3] == "MB/s"
    assert done.stderr == ""


def test_json_and_every_engine(shell: Shell, text: str, farm: Farm) -> None:
    farm.worker("--slots", "2")
    there = json.loads(shell.run("wordcount", text, "--json", OCHE_URL=farm.url).stdout)
    assert there["top"][:2] == [["the", 150], ["bull", 51]]
    assert (there["files"], there["bytes"], there["words"], there["distinct"]) == (1, len(TEXT.encode()), 401, 6)


def test_a_file_that_cannot_be_read_is_named(shell: Shell, text: str) -> None:
    done = shell.run("wordcount", text, "missing", code=2)
    assert f"cannot read {shell.folder}/missing" in done.stderr
    assert "No such file" in done.stderr
    assert "Missing argument" in shell.run("wordcount", code=2).stderr
    assert "too few" in shell.run("wordcount", text, "--top", "0", code=2).stderr


def test_an_empty_file_has_no_words(shell: Shell) -> None:
    (shell.folder / "empty").touch()
    assert shell.run("wordcount", "empty", "--workers", "1").stdout.startswith(
        "0 words, 0 of them distinct, in 1 file\n"
    )
