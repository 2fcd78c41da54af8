"""Starting a child program, by posix_spawn.

`subprocess` waits for the end of a pipe that tells whether the program could be started, and a process that another
thread forks at that moment (a pool of multiprocessing, say) holds that pipe open for as long as it lives: the wait
would have no end. Here the system itself tells.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

#: Ours are from here on, so that none of them is in the way of what the child gets.
_HIGH = 10


def spawn(command: list[str], files: Sequence[int], environment: Mapping[str, str]) -> int:
    """Starts a program in a session of its own; returns its process id. Raises `OSError` where that cannot be.

    Its files 0, 1, 2 ... are these, and it has no others of ours. Signals that Python ignores are as usual for it.
    """
    with _lifted(files) as lifted:
        return os.posix_spawn(
            command[0],
            command,
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(lifted)],
            setsid=True,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )


@contextmanager
def _lifted(files: Sequence[int]) -> Iterator[list[int]]:
    """The same files under high numbers, closed in children by themselves."""
    lifted: list[int] = []
    with contextlib.ExitStack() as end:
        for fd in files:
            lifted.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH))
            end.callback(os.close, lifted[-1])
        yield lifted
