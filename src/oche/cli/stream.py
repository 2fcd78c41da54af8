"""`oche stream`: topics and channels from the shell."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

import click

from oche.cli.options import debug_option, here_first, json_option, log_to_stderr, positive
from oche.cli.output import json_text, note, print_json, print_table
from oche.errors import ConfigError

_CHUNK = 1 << 16

on_option = click.option("--on", "url", envvar="OCHE_URL", required=True, metavar="URL", help="The broker (OCHE_URL).")


@click.group()
def stream() -> None:
    """Run pipelines of topics and channels; publish and read from the shell."""


@stream.command()
@click.argument("target", metavar="FILE")
@on_option
@click.option("--slots", type=positive, metavar="N", help="Processes for each stage (one for each core).")
@click.option("--until-idle", type=float, metavar="SECONDS", help="End when for so long no message has come.")
@debug_option
def run(target: str, url: str, slots: int | None, until_idle: float | None) -> None:
    """Run all stages of FILE (or of a module), until SIGTERM or Ctrl-C.

    Then they take no more messages, and what is not finished within 10 seconds is given back. A second signal ends it
    at once. Run it on as many machines as you like.
    """
    from oche.streams.client import connect
    from oche.worker.daemon import serve

    here_first()
    log_to_stderr(logging.INFO, "%(asctime)s %(levelname).1s %(message)s")
    with connect(url) as streams:
        click.get_current_context().exit(serve(streams.node(target, slots=slots, until_idle=until_idle)))


@stream.command()
@click.argument("topic")
@on_option
@debug_option
def publish(topic: str, url: str) -> None:
    """Publish each line of stdin, a JSON value, to TOPIC."""
    from oche.streams.calling import read_json
    from oche.streams.client import connect

    count = 0
    with connect(url) as streams:
        for lines in _lines():
            values: list[Any] = []
            for line in lines:
                try:
                    values.append(read_json(line))
                except (ValueError, RecursionError) as error:
                    streams.publish(topic, *values)
                    place = count + len(values) + 1
                    raise ConfigError(
                        f"line {place} is not JSON ({error}): {line[:60]!r}; {place - 1} lines before it are published"
                    ) from error
            streams.publish(topic, *values)
            count += len(values)
    note(f"published {count:,} messages to {topic}")


@stream.command()
@click.argument("topic")
@click.option("--channel", required=True, metavar="NAME", help="Each channel gets all; its readers share.")
@on_option
@click.option("--limit", type=positive, metavar="N", help="End after N messages.")
@click.option("--timeout", type=float, metavar="SECONDS", help="End when for so long no message has come.")
@debug_option
def read(topic: str, channel: str, url: str, limit: int | None, timeout: float | None) -> None:
    """Print the messages of a channel of TOPIC, a line of JSON each, and take them from it.

    The channel stays when this ends, and keeps what comes; `oche stream remove` ends it.
    """
    from oche.streams.client import connect

    with connect(url) as streams:
        for value in streams.read(topic, channel=channel, limit=limit, timeout=timeout):
            sys.stdout.write(json_text(value) + "\n")
            sys.stdout.flush()


@stream.command()
@click.argument("topics", nargs=-1, required=True)
@on_option
@json_option
@debug_option
def depth(topics: tuple[str, ...], url: str, as_json: bool) -> None:
    """Show how many messages wait in the fullest channel of each topic."""
    from oche.streams.client import connect

    with connect(url) as streams:
        counts = {topic: streams.depth(topic) for topic in topics}
    print_json(counts) if as_json else print_table(("topic", "waiting"), list(counts.items()))


@stream.command()
@click.argument("topic")
@click.option("--channel", required=True, metavar="NAME")
@on_option
@debug_option
def remove(topic: str, channel: str, url: str) -> None:
    """End a channel of TOPIC, with all that waits in it."""
    from oche.streams.client import connect

    with connect(url) as streams:
        streams.remove(topic, channel=channel)


def _lines() -> Iterator[list[bytes]]:
    """Lines of stdin that are not empty, as many as have come."""
    rest = b""
    while data := os.read(0, _CHUNK):
        *lines, rest = (rest + data).split(b"\n")
        yield [line for line in lines if line.strip()]
    if rest.strip():
        yield [rest]
