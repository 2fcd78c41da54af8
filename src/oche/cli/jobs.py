"""`oche jobs`: hands on the queue, for the moments when a person must look."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from oche.cli.options import debug_option, json_option, positive, url_argument
from oche.cli.output import print_json
from oche.cli.session import broker_at
from oche.errors import KeyMissing, QueueError, Unsupported
from oche.queues.seam import Queue, State

if TYPE_CHECKING:
    from oche.watch.message import Message
    from oche.wire.signing import Signer

#: Characters of the arguments that are shown to a person; --json shows all.
SHOWN = 600

_tube_option = click.option("--tube", metavar="NAME", help="Another tube than that of the jobs for any worker.")


@click.group()
def jobs() -> None:
    """Look at jobs that wait or were set aside; kick, bury or delete them."""


@jobs.command()
@url_argument
@click.option("--state", type=click.Choice(["ready", "delayed", "buried"]), default="ready", show_default=True)
@_tube_option
@json_option
@debug_option
def peek(url: str, state: str, tube: str | None, as_json: bool) -> None:
    """Show the next job in a state, without taking it. Exits with 1 if there is none."""
    from oche.watch.message import read_message

    with broker_at(url) as (queue, farm):
        name = tube or farm.work
        if not queue.traits.peek:
            raise Unsupported(
                f"the broker at {url} cannot show a job without taking it; `oche status` shows the counts"
            )
        found = queue.peek(name, State(state))
    message = None if found is None else read_message(found, _signer())
    if as_json:
        print_json(message)
    elif message is not None:
        _show(message)
    else:
        click.echo(f"no {state} job in {name}", err=True)
    if message is None:
        click.get_current_context().exit(1)


@jobs.command()
@url_argument
@click.option("--limit", type=positive, metavar="N", help="At most so many, the oldest first (all).")
@click.option("--delayed", is_flag=True, help="Where none is buried: those that wait for their time.")
@_tube_option
@json_option
@debug_option
def kick(url: str, limit: int | None, delayed: bool, tube: str | None, as_json: bool) -> None:
    """Make buried jobs ready again."""
    with broker_at(url) as (queue, farm):
        name = tube or farm.work
        stats = queue.stats(name)
        there = stats.buried or (stats.delayed if delayed else 0)
        wanted = there if limit is None else min(limit, there)
        count = queue.kick(name, wanted) if wanted else 0
    if as_json:
        print_json({"tube": name, "kicked": count})
    else:
        click.echo(f"{count:,} {'job is' if count == 1 else 'jobs are'} ready again in {name}")


@jobs.command()
@url_argument
@click.argument("id", required=False)
@_tube_option
@json_option
@debug_option
def bury(url: str, id: str | None, tube: str | None, as_json: bool) -> None:
    """Set the next ready job aside, until somebody kicks it; with ID, only if that is the one (as peek shows it)."""
    with broker_at(url) as (queue, farm):
        name = tube or farm.work
        buried = _bury(queue, name, id)
    if as_json:
        print_json({"tube": name, "buried": buried})
    else:
        click.echo(f"job {buried} in {name} is buried")


def _bury(queue: Queue, tube: str, id: str | None) -> str:
    """The broker's id of the job it buried; raises `QueueError` if it is not there to be buried."""
    next_ = queue.peek(tube, State.READY)
    if next_ is None:
        raise QueueError(f"no ready job in {tube}; nothing was buried")
    if id is not None and next_.id != id:
        raise QueueError(f"the next ready job in {tube} is {next_.id}, not {id}; nothing was buried")
    delivery = queue.reserve([tube], 0.0)
    if delivery is None or delivery.body != next_.body:  # a worker was quicker
        if delivery is not None:
            queue.release(delivery)
        raise QueueError(f"job {next_.id} was taken by a worker meanwhile; nothing was buried")
    queue.bury(delivery)
    return next_.id


@jobs.command()
@url_argument
@click.argument("id")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@debug_option
def delete(url: str, id: str, yes: bool, as_json: bool) -> None:
    """Delete the ready, delayed or buried job ID (as peek shows it). Its caller goes on waiting for it."""
    if not yes:
        click.confirm(f"delete job {id} for good?", abort=True, err=True)
    with broker_at(url) as (queue, _):
        gone = queue.discard(id)
    if as_json:
        print_json({"id": id, "deleted": gone})
    elif gone:
        click.echo(f"job {id} is deleted")
    if not gone:
        raise QueueError(f"no ready, delayed or buried job {id} at {url}; one that runs cannot be deleted")


def _signer() -> Signer:
    from oche.wire.signing import Signer, load_key

    try:
        return Signer(load_key(local=False))
    except KeyMissing:
        return Signer(None)


def _show(message: Message) -> None:
    attempts = f"{message.attempt} that ended badly" if message.attempt else ""
    calls = "" if message.calls is None else json.dumps(message.calls, ensure_ascii=False)
    if len(calls) > SHOWN:
        calls = f"{calls[:SHOWN]} ... ({len(calls):,} characters; --json shows all)"
    count = f" ({message.count:,} calls)" if message.count > 1 else ""
    lines = [
        (message.kind, f"{message.broker_id}  (the broker's id; {message.size:,} bytes)"),
        ("task", message.task + ("  (by value)" if message.by_value else "")),
        ("calls" if message.count > 1 else "call", calls + count if calls else ""),
        ("run", message.run),
        ("id", message.id),
        ("attempts", attempts),
        ("reason", message.reason),
        ("worker", message.worker),
        ("signature", str(message.signature)),
        ("text", message.text[:SHOWN] if message.kind != "job" else ""),
    ]
    for name, value in lines:
        if value:
            click.echo(click.style(f"{name:<10}", dim=True) + value)
