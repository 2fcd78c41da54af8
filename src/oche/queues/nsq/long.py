"""Jobs that are held for longer than nsqd lets anyone hold a message (`--max-msg-timeout`).

Such a job is put anew, into a topic of its own that only its holder reads, and the old message is done with: there it
is as much the holder's as before, and nobody else can take it. Should the holder die, the topic has a message and no
reader; whoever waits for jobs of the tube sees that now and then, and moves the message back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from uuid import uuid4

from nsq import protocol

from oche.queues.nsq.names import LONG, Facts, topic_of, tube_of, unwrap
from oche.queues.nsq.nodes import Node
from oche.queues.nsq.wire import Line

#: Seconds in which a message comes that is there.
SOON = 1.0


def set_apart(node: Node, tube: str, body: bytes, facts: Facts) -> tuple[Line, bytes]:
    """Puts the job into a topic of its own; the line that has it, and the message's id there."""
    topic = topic_of(tube, f"{LONG}{uuid4().hex[:12]}")
    line = node.subscribe(topic)  # first, lest it looks like somebody's who died
    try:
        node.founded.discard(topic)
        line.let(1)
        node.put(topic, [body], facts, channel=False)
        while not line.arrived:
            line.receive()
    except BaseException:
        line.close()
        raise
    return line, line.arrived.popleft().id


def orphans(node: Node) -> Iterator[tuple[str, str]]:
    """Tube and topic of each job that was set apart and whose holder is gone."""
    for found in node.api.topics():
        tube, kind = tube_of(found.topic_name)
        if kind == LONG and found.ours.depth and not found.ours.client_count:
            yield tube, found.topic_name


def take_back(node: Node, tube: str, topic: str) -> None:
    """Moves the job to its tube, and counts the attempt. Raises `OSError` if another does so at this moment."""
    line = node.subscribe(topic)
    try:
        line.let(1)
        end = time.monotonic() + SOON
        while not line.arrived and time.monotonic() < end:
            line.settle()
        if line.arrived:
            came = line.arrived.popleft()
            body, facts = unwrap(came.message)
            node.put(topic_of(tube), [body], Facts(handed=facts.handed + came.attempts - 1, lease=facts.lease))
            line.send(protocol.finish(came.id))
            line.settle()
            node.drop(topic)
    finally:
        node.founded.discard(topic)
        line.close()
