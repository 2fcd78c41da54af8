"""`oche run`: a function, mapped over numbers or lines of stdin."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import Any, TextIO

import click

from oche.cli.loading import load_function
from oche.cli.mapping import Answer, answers
from oche.cli.options import cluster_options, debug_option, json_option, whole
from oche.cli.output import json_text, note
from oche.cli.session import cluster_at
from oche.errors import Broken, ConfigError


@click.command()
@click.argument("target", metavar="FILE:FUNCTION")
@click.option(
    "--range", "span", metavar="N|LO:HI", help="Call it with 0 .. N-1, or LO .. HI-1, instead of lines of stdin."
)
@cluster_options
@click.option(
    "--ordered/--unordered", default=True, help="Results in the order of the input (default), or as they come."
)
@json_option
@debug_option
def run(
    target: str, span: str | None, url: str | None, workers: int | None, run_name: str | None,
    ordered: bool, as_json: bool,
) -> None:  # fmt: skip
    """Call FUNCTION with each line of stdin, or each number of a range, and print each result on a line.

    A function of a FILE travels to the workers by itself; what the file imports must be installed there.
    MODULE:FUNCTION works too, where the workers have the module. A call that fails is told on stderr and the
    rest goes on; the exit code is then 1. With --json, results and failures are lines on stdout,
    {"index": ..., "value": ...} or {"index": ..., "error": ...}; the index counts from 0.
    """
    items: Iterable[Any] = _lines() if span is None else _span(span)
    function = load_function(target)
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper):  # file names come out as they went in, and a result when it is there
        out.reconfigure(errors="surrogateescape", line_buffering=True)
    failed = done = 0
    # What the tasks print is shown by the client, and must not come between the results.
    with contextlib.redirect_stdout(sys.stderr), cluster_at(url, run_name, workers) as cluster:
        for answer in answers(cluster, function, items, ordered=ordered):
            done += 1
            failed += not _show(answer, out, as_json)
    if failed:
        note(f"{failed:,} of {done:,} calls failed")
        click.get_current_context().exit(1)


def _show(answer: Answer, out: TextIO, as_json: bool) -> bool:
    """Prints the result, when it is there; False for a call that failed."""
    error = _error(answer.future)
    if error is not None:
        text = f"{type(error).__name__}: {error}"
        if as_json:
            out.write(json_text({"index": answer.index, "error": text}) + "\n")
        else:
            note(f"{_shown(answer.item)}: {text}")
    elif as_json:
        out.write(json_text({"index": answer.index, "value": answer.future.result()}) + "\n")
    else:
        out.write(f"{answer.future.result()}\n")
    return error is None


def _error(future: Future[Any]) -> BaseException | None:
    error = future.exception()
    if isinstance(error, Broken):  # not this call's fault: none can go on
        raise error
    return error


def _shown(item: object) -> str:
    text = repr(item)
    return text if len(text) <= 60 else text[:57] + "..."


def _lines() -> Iterator[str]:
    """Lines of stdin without their ends."""
    if sys.stdin.isatty():
        note("reading lines from the terminal; end with Ctrl-D (or give --range N)")
    # A file object of its own: a reader thread that holds the lock of sys.stdin stops the interpreter from ending.
    with open(0, encoding="utf-8", errors="surrogateescape", newline="\n", closefd=False) as stdin:
        for line in stdin:
            yield line.removesuffix("\n").removesuffix("\r")


def _span(text: str) -> range:
    low, colon, high = text.partition(":")
    if not colon:
        low, high = "0", text
    try:
        span = range(whole(low or "0"), whole(high))
    except click.BadParameter as error:
        raise ConfigError(f"--range {text}: {error.message}") from error
    if span.start > span.stop:
        raise ConfigError(f"--range {text}: it ends before it begins; write LO:HI")
    return span
