"""`oche run`: lines and ranges through a function, in order, with failures told."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from cli_shell import Shell

from farms import Farm, until
from oche.cli.mapping import AHEAD, answers


def test_a_function_of_a_file_travels_to_workers_that_lack_it(shell: Shell, farm: Farm) -> None:
    farm.worker("--slots", "2")
    assert not (farm.folder / "work.py").exists()
    out = shell.run("run", "work.py:square", "--range", "3:300", "--on", farm.url).stdout
    assert out == "".join(f"{x * x}\n" for x in range(3, 300))
    # A class of the file comes back, too, and what the task prints stays out of the results.
    done = shell.run("run", "work.py:size", "--range", "2", "--on", farm.url, "--json")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"index": 0, "value": {"width": 0, "height": None}},
        {"index": 1, "value": {"width": 1, "height": None}},
    ]


def test_lines_of_stdin_come_without_their_ends_and_in_order(shell: Shell) -> None:
    lines = ["", " two ", "a\rb", "naïve", "\udcff.png", "last, without newline"]
    done = shell.run("run", "work.py:echo", "--workers", "2", stdin="\n".join(lines).replace(" two ", " two \r"))
    assert done.stdout == "\n".join(lines) + "\n"
    done = shell.run("run", "work.py:echo", "--workers", "1", "--json", stdin="\udcff\n")
    assert json.loads(done.stdout) == {"index": 0, "value": "\udcff"}


def test_no_lines_are_no_results(shell: Shell) -> None:
    assert shell.run("run", "work.py:echo", "--workers", "1", stdin="").stdout == ""


def test_a_call_that_fails_is_told_and_the_rest_goes_on(shell: Shell) -> None:
    done = shell.run("run", "work.py:picky", "--workers", "2", stdin="1\n2\n3\n4\n6\n7\n", code=1)
    assert done.stdout == "1\n2\n4\n7\n"
    assert done.stderr == "oche: '3': ValueError: bad 3\noche: '6': ValueError: bad 6\noche: 2 of 6 calls failed\n"
    done = shell.run("run", "work.py:picky", "--workers", "2", "--range", "1:4", "--json", code=1)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"index": 0, "value": 1},
        {"index": 1, "value": 2},
        {"index": 2, "error": "ValueError: bad 3"},
    ]
    assert done.stderr == "oche: 1 of 3 calls failed\n"


def test_a_crash_is_one_failed_call(shell: Shell) -> None:
    done = shell.run("run", "work.py:die", "--workers", "1", "--range", "1", code=1)
    assert "Crashed" in done.stderr
    assert "SIGKILL" in done.stderr


@pytest.mark.parametrize("order", ["--ordered", "--unordered"])
def test_order(shell: Shell, order: str) -> None:
    """The first call lasts until another has begun; unordered, until the result of another is here."""
    with shell.start("run", "work.py:late", "--workers", "2", "--range", "4", order) as process:
        try:
            assert process.stdout is not None
            early = [process.stdout.readline().strip()] if order == "--unordered" else []
            until(lambda: any((shell.folder / f"late.{x}").exists() for x in (1, 2, 3)), "another has begun")
            (shell.folder / "gate").touch()
            out = early + process.stdout.read().split()  # communicate() would miss what readline() has read ahead
        finally:
            process.kill()
    assert sorted(out) == ["0", "1", "2", "3"]
    assert (out[0] == "0") is (order == "--ordered")


def test_a_module_works_too(shell: Shell) -> None:
    assert shell.run("run", "math:factorial", "--workers", "1", "--range", "4:6").stdout == "24\n120\n"
    assert shell.run("run", "work:square", "--workers", "1", "--range", "3:4").stdout == "9\n"


@pytest.mark.parametrize("order", ["--ordered", "--unordered"])
def test_a_result_does_not_wait_for_the_next_line(shell: Shell, order: str) -> None:
    process = shell.start("run", "work.py:square", "--workers", "1", order, stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        for number in (3, 4):
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{number * number}\n"
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.mark.parametrize("ordered", [True, False])
def test_a_bounded_number_of_calls_is_under_way(ordered: bool) -> None:
    pulled = 0

    def items() -> Iterator[int]:
        nonlocal pulled
        while pulled < 3 * AHEAD:
            pulled += 1
            yield pulled

    taken = []
    with ThreadPoolExecutor(2) as pool:
        for answer in answers(pool, abs, items(), ordered=ordered):
            taken.append(answer.future.result())
            assert pulled - len(taken) <= AHEAD
    assert sorted(taken) == list(range(1, 3 * AHEAD + 1))
    assert not ordered or taken == sorted(taken)


def test_an_item_that_cannot_be_read_ends_the_stream() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    with ThreadPoolExecutor(1) as pool:
        stream = answers(pool, abs, items(), ordered=True)
        assert next(stream).future.result() == 1
        with pytest.raises(OSError, match="the disk is gone"):
            next(stream)
