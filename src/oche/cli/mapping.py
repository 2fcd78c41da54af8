"""Calls of one function on an endless stream of items, and their results as they come.

    feeder thread:  items -> submit -> line of answers          at most `AHEAD` calls are under way
    caller:         line of answers -> (index, item, future)

The feeder is a thread of its own since stdin may be slow: results must not wait for the next line to be read.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

from oche.errors import TooLarge, Unsendable

#: Calls under way at a time: enough for short ones to travel together, few enough for flat memory.
AHEAD = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """A call that is done, or, if ordered, that is the next to be waited for."""

    index: int
    item: Any
    future: Future[Any]


def answers(
    cluster: Executor, function: Callable[[Any], Any], items: Iterable[Any], *, ordered: bool
) -> Iterator[Answer]:
    """Each call once: in the order of the items, or as they are done. Raises what the items or the cluster raise.

    A call whose item cannot travel is a call that failed.
    """
    line: queue.SimpleQueue[Answer | BaseException | int] = queue.SimpleQueue()
    room = threading.Semaphore(AHEAD)
    stopped = threading.Event()

    def feed() -> None:
        count = 0
        try:
            for count, item in enumerate(items, 1):
                room.acquire()
                if stopped.is_set():
                    return
                answer = Answer(count - 1, item, _submit(cluster, function, item))
                if ordered:
                    line.put(answer)
                else:
                    answer.future.add_done_callback(lambda _, answer=answer: line.put(answer))  # type: ignore[misc]
        except BaseException as error:
            line.put(error)
        else:
            line.put(count)

    threading.Thread(target=feed, name="oche-feeder", daemon=True).start()
    given, taken = 0, None
    try:
        while given != taken:
            got = line.get()
            if isinstance(got, BaseException):
                raise got
            if isinstance(got, int):
                taken = got
                continue
            given += 1
            yield got
            room.release()
    finally:
        stopped.set()
        room.release()


def _submit(cluster: Executor, function: Callable[[Any], Any], item: Any) -> Future[Any]:
    try:
        return cluster.submit(function, item)
    except (TooLarge, Unsendable) as error:
        future: Future[Any] = Future()
        future.set_exception(error)
        return future
