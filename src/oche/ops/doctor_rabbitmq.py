"""What RabbitMQ tells of itself, and what that means for a farm. Our queues are durable, whatever its settings are."""

from __future__ import annotations

from collections.abc import Iterator

from oche.ops.access import access
from oche.ops.finding import Finding, ok
from oche.ops.seen import Seen, version

LEAST = (3, 10)


def judge(seen: Seen) -> Iterator[Finding]:
    """Of a server that answers."""
    yield version(str(seen.settings.get("product", "RabbitMQ")), seen.settings.get("version"), LEAST)
    yield ok(
        "durability",
        "durable queues, each put committed to disk: a power cut loses nothing that was put; what was deleted in the "
        "last second may be handed out once more",
    )
    yield ok("limits", f"a job has {seen.traits.max_body:,} bytes at most, the smallest default of any RabbitMQ")
    yield access(seen, remedy="a user of your own (rabbitmqctl add_user, set_permissions) in the URL, and amqps://")
