"""`oche runs`: named runs of this user, from their journals on this machine."""

from __future__ import annotations

import os
import shlex
import time
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from oche.cli.options import debug_option, json_option
from oche.cli.output import ago, note, print_json, print_table
from oche.cli.session import broker_at
from oche.errors import ConfigError, JournalError, OcheError

if TYPE_CHECKING:
    from oche.cluster.journal import RunSummary


@click.group()
def runs() -> None:
    """List, show, resume or forget named runs of yours."""


@runs.command("list")
@json_option
@debug_option
def list_(as_json: bool) -> None:
    """List all named runs, newest first."""
    from oche.cluster.journal import runs as all_runs

    found = all_runs()
    if as_json:
        print_json(found)
        return
    if not found:
        note("no named runs; `oche pi --run NAME` or oche.connect(run=NAME) makes one")
    print_table(
        ("run", "made", "pieces", "finished", "state", "where", "program"),
        [
            (
                run.name,
                f"{ago(time.time() - run.made)} ago",
                run.pieces,
                run.finished,
                _state(run),
                run.url,
                _program(run),
            )
            for run in found
        ],
    )


@runs.command()
@click.argument("name")
@json_option
@debug_option
def show(name: str, as_json: bool) -> None:
    """Show what is known of the run NAME."""
    run = _find(name)
    if as_json:
        print_json(run)
        return
    made = datetime.fromtimestamp(run.made).astimezone()
    lines = (
        ("run", run.name),
        ("made", f"{made:%Y-%m-%d %H:%M:%S %z}, {ago(time.time() - run.made)} ago"),
        ("where", run.url),
        ("state", _state(run)),
        ("pieces", f"{run.finished:,} of {run.pieces:,} known ones are finished"),
        ("program", shlex.join(run.argv)),
        ("folder", run.cwd),
    )
    for label, value in lines:
        click.echo(click.style(f"{label:<9}", dim=True) + value)


@runs.command()
@click.argument("name")
@debug_option
def resume(name: str) -> None:
    """Start the program that made the run NAME again, as it was started then; it goes on where it stopped."""
    run = _find(name)
    if run.in_use:
        raise JournalError(f"run {name!r} is in use by a process; it need not be resumed")
    try:
        os.chdir(run.cwd)
    except OSError as error:
        raise JournalError(
            f"run {name!r} was started in {run.cwd}, which is not there any more: {error.strerror}"
        ) from error
    # A program that takes its URL from the environment finds the one it had.
    os.environ["OCHE_URL"] = run.url
    note(f"in {run.cwd}: {shlex.join(run.argv)}")
    try:
        os.execvp(run.argv[0], run.argv)
    except OSError as error:
        raise JournalError(f"{run.argv[0]} cannot be started: {error.strerror}; start the program by hand") from error


@runs.command()
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@debug_option
def forget(name: str, yes: bool, as_json: bool) -> None:
    """Delete what is kept of the run NAME: its journal here, and its answers that wait on the broker."""
    from oche.cluster.journal import forget as forget_journal

    run = _find(name)
    if run.in_use:
        raise JournalError(f"run {name!r} is in use by a process; stop that first")
    if not yes:
        click.confirm(f"forget run {name!r}, {run.finished:,} finished pieces?", abort=True, err=True)
    if urlsplit(run.url).scheme != "local":
        try:
            _sweep(run)
        except OcheError as error:
            note(f"what waits on the broker stays there: {error}")
    forget_journal(name)
    if as_json:
        print_json({"run": name, "forgotten": True})
    else:
        click.echo(f"run {name!r} is forgotten")


def _sweep(run: RunSummary) -> None:
    """Calls off the jobs of the run that are still out, and takes its answers away."""
    from oche.cluster.journal import Journal

    journal = Journal(run.name, run.url)
    try:
        out = [id_ for id_, _, _ in journal.under_way()]
    finally:
        journal.close()
    with broker_at(run.url) as (queue, farm):
        for id_ in out:
            queue.signal(farm.stop_job(id_))
        while answers := queue.reserve_many([farm.reply(run.name)], 100, 0.0):
            queue.delete_many(answers)


def _find(name: str) -> RunSummary:
    from oche.cluster.journal import runs as all_runs

    found = all_runs()
    for run in found:
        if run.name == name:
            return run
    names = ", ".join(run.name for run in found) or "none"
    raise ConfigError(f"there is no run {name!r} of yours on this machine; there are: {names}")


def _state(run: RunSummary) -> str:
    return "running" if run.in_use else "stopped" if run.finished < run.pieces else "idle"


def _program(run: RunSummary) -> str:
    text = shlex.join(run.argv[1:] or run.argv)
    return text if len(text) <= 48 else text[:45] + "..."
