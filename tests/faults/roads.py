"""Roads to brokers that break: proxies which know by what words each protocol puts, hands out and deletes jobs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple, Self

from farms import Farm
from oche.servers.server import free_pair
from oche.testing.faults import Cut, Fault, Proxy, amid, before, lost, reply_lost, whole

#: Cuts of one kind, after which other kinds have their turn.
ENOUGH = 8


class Words(NamedTuple):
    """Regular expressions for a request to put jobs, what the server sends to hand some out, a request to delete."""

    put: bytes
    jobs: bytes
    delete: bytes


WORDS = {
    "beanstalkd": Words(rb"put \d", rb"RESERVED \d", rb"delete \d"),
    # A script's verbs; `take` tells also what is done, after the connection, the limit and the pace, and is answered by
    # two values and five for each job.
    "redis": Words(
        rb"\r\nput\r\n",
        rb"^\*(?:7|\d+[27])\r\n",
        rb"\r\n(?:delete|take\r\n(?:\$\d+\r\n[^\r]*\r\n){3}\$\d+\r\n[1-9])",
    ),
    # Frames of methods: basic.publish, basic.deliver or get-ok, basic.ack.
    "rabbitmq": Words(
        rb"\x01.{6}\x00\x3c\x00\x28", rb"\x01.{6}\x00\x3c\x00[\x3c\x47]", rb"\x01.{6}\x00\x3c\x00\x50"
    ),
    # Kinds of packets: SUBMIT_JOB_BG and those with a priority, JOB_ASSIGN_UNIQ, WORK_COMPLETE.
    "gearman": Words(rb"\0REQ\0\0\0[\x12\x20\x22]", rb"\0RES\0\0\0\x1f", rb"\0REQ\0\0\0\x0d"),
    # A frame of kind 2 has the time, the attempts and the id of a message.
    "nsq": Words(rb"[MD]?PUB [^\n]+\n", rb"\0\0\0\x02.{10}[0-9a-f]{16}", rb"FIN [0-9a-f]{16}\n"),
}  # fmt: skip


class Road:
    """What lies between a farm's broker and whoever takes `url`."""

    def __init__(self, farm: Farm) -> None:
        assert farm.server is not None
        self.words = WORDS[farm.engine]
        self.fault: Callable[[], Fault] = whole  #: of connections to come
        self.port, theirs = free_pair(), farm.server.port
        self.url = farm.url.replace(f":{theirs}", f":{self.port}")
        # nsqd has a second port, the next one.
        ports = range(2 if farm.engine == "nsq" else 1)
        self._proxies = [Proxy(theirs + i, port=self.port + i, fault=lambda: self.fault()) for i in ports]

    def cut(self) -> None:
        """Ends all connections that are open now."""
        for proxy in self._proxies:
            proxy.cut()

    def swallow(self) -> None:
        """From now on nothing passes over the connections that are open now, and nobody is told."""
        for proxy in self._proxies:
            proxy.swallow()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with ExitStack() as stack:
            for proxy in self._proxies:
                stack.callback(proxy.close)


class Storm:
    """A fault of one of four kinds for each new connection, counted when it cuts."""

    def __init__(self, words: Words, chance: random.Random) -> None:
        self.cuts = Counter[str]()
        self.kinds: dict[str, Callable[[], Fault]] = {
            "before a delete": lambda: before(words.delete, chance, odds=0.3),
            "after a put": lambda: reply_lost(words.put, chance, odds=0.3),
            "instead of jobs": lambda: lost(words.jobs, chance, odds=0.2),
            "anywhere": lambda: amid(chance, 5_000.0),
        }
        self._chance = chance

    @property
    def missing(self) -> list[str]:
        """Kinds that have cut nothing yet: perhaps their connections never did what they wait for."""
        return [kind for kind in self.kinds if not self.cuts[kind]]

    def __call__(self) -> Fault:
        short = self.missing or [kind for kind in self.kinds if self.cuts[kind] < ENOUGH]
        if not short:
            return whole()
        kind = self._chance.choice(short)
        fault = self.kinds[kind]()

        def counted(data: bytes, request: bool) -> bytes:
            try:
                return fault(data, request)
            except Cut:
                self.cuts[kind] += 1
                raise

        return counted
