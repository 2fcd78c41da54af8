"""What is said to beanstalkd: commands, checked before they are sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import ceil

from oche.errors import ConfigError, TooLarge

_TUBE = re.compile(r"[A-Za-z0-9+/;.$_()][A-Za-z0-9\-+/;.$_()]{0,199}")


def check_size(body: bytes, limit: int | None) -> None:
    """Raises `TooLarge` for what the server would refuse."""
    if limit is not None and len(body) > limit:
        raise TooLarge(
            f"the body has {len(body)} bytes, over beanstalkd's limit of {limit}; start it with a larger -z, "
            "or put the value in a store and send the reference"
        )


def check_tube(tube: str) -> bytes:
    """The name as it is sent; raises `ConfigError` for one that beanstalkd would misread."""
    if not _TUBE.fullmatch(tube):
        raise ConfigError(f"{tube!r} cannot be a tube of beanstalkd: take 1 to 200 letters, digits or any of -+/;.$_()")
    return tube.encode()


def put_commands(
    bodies: Iterable[bytes], limit: int | None, *, priority: int, delay: float, lease: float
) -> list[bytes]:
    """A put for each body. Raises `TooLarge` for a body over the limit, `ConfigError` for a priority out of range."""
    if not 0 <= priority < 2**32:
        raise ConfigError(f"priority {priority} is not between 0 and {2**32 - 1}")
    head = b"put %d %d %d" % (priority, ceil(max(delay, 0)), max(ceil(lease), 1))
    commands = []
    for body in bodies:
        check_size(body, limit)
        commands.append(b"%b %d\r\n%b\r\n" % (head, len(body), body))
    return commands
