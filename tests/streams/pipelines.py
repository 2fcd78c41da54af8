"""The published pipeline, end to end: numbers become primes and others, while workers are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psutil

import oche
from farms import BOUND, Farm
from oche.streams.opening import open_topics
from oche.streams.seam import DEAD

STAGES = """
import math

from oche.streams import stage


@stage("numbers", channel="worker_group_a", to=("primes", "non_primes"), retries=50)
def sort_out(message):
    number = message["number"]
    prime = number > 1 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))
    return "primes" if prime else "non_primes", {**message, "prime": prime}
"""
#: How many primes there are up to these numbers.
PRIMES = {10_000: 1_229, 2_000: 303}


class Nodes:
    """`oche stream run` as processes, of which a thread kills one, or a child of one, now and then."""

    def __init__(self, file: Path, url: str, *, count: int, seed: int) -> None:
        self.killed = Counter[str]()
        self._command = [sys.executable, "-m", "oche", "stream", "run", str(file), "--on", url, "--slots", "1"]
        self._folder = file.parent
        self._random = random.Random(seed)
        self._ending = threading.Event()
        self._running = [self._start() for _ in range(count)]
        self._thread = threading.Thread(target=self._kill)
        self._thread.start()

    def _start(self) -> subprocess.Popen[bytes]:
        log = open(self._folder / "log", "ab")  # noqa: SIM115
        with log:
            return subprocess.Popen(self._command, cwd=self._folder, stderr=log)

    def _kill(self) -> None:
        # Only a node that began is worth killing: a Python takes a while to start.
        while not self._ending.wait(self._random.uniform(0.5, 1.0)) and self.killed.total() < 4:
            place = self._random.randrange(len(self._running))
            node = self._running[place]
            children = [] if self.killed.total() % 2 else psutil.Process(node.pid).children()
            for child in children:
                child.kill()
                self.killed["children"] += 1
            if not children:
                node.kill()
                node.wait(BOUND)
                self._running[place] = self._start()
                self.killed["nodes"] += 1

    def killing_ends(self) -> None:
        """Waits for the last kill."""
        self._thread.join(BOUND)

    def end(self) -> None:
        self._ending.set()
        self._thread.join(BOUND)
        for node in self._running:
            node.send_signal(signal.SIGTERM)
        codes = [node.wait(BOUND) for node in self._running]
        assert codes == [0] * len(codes)


def collect(url: str, wanted: dict[str, int]) -> dict[str, dict[str, bytes]]:
    """Bodies by id, of so many different messages of each topic, and all that comes after them."""
    found: dict[str, dict[str, bytes]] = {topic: {} for topic in wanted}
    count = 0
    for topic, expected in wanted.items():
        with open_topics(url) as topics:
            topics.subscribe(topic, "collector")
            end = time.monotonic() + BOUND
            while (messages := topics.receive(500, 0.2)) or len(found[topic]) < expected:
                assert time.monotonic() < end, f"{len(found[topic])} of {expected} came to {topic}"
                topics.ack(messages)
                count += len(messages)
                found[topic].update((message.id, message.body) for message in messages)
    print(f"{count - sum(map(len, found.values()))} duplicates were dropped")
    return found


def wanted(n: int) -> dict[str, int]:
    """How many messages of each topic the numbers up to this one become."""
    return {"primes": PRIMES[n], "non_primes": n - PRIMES[n]}


def check(found: dict[str, dict[str, bytes]], n: int) -> None:
    """Each number is there once, on its side, as published."""
    numbers = {}
    for topic, prime in (("primes", True), ("non_primes", False)):
        bodies = [json.loads(body) for body in found[topic].values()]
        assert all(body == {"number": body["number"], "prime": prime} for body in bodies)
        numbers[topic] = sorted(body["number"] for body in bodies)
    assert len(numbers["primes"]) == PRIMES[n]
    assert sorted(numbers["primes"] + numbers["non_primes"]) == list(range(1, n + 1))
    assert b'{"number": 7, "prime": true}' in found["primes"].values()


def new_seed() -> int:
    """Of the kills; pytest shows it where a test fails."""
    seed = int.from_bytes(os.urandom(2))
    print(f"seed {seed}")
    return seed


def run_published(farm: Farm, n: int, *, restart: bool = False) -> None:
    """The numbers up to `n` through two nodes, of which some are killed; with `restart` the broker is killed, too."""
    file = farm.folder / "pipeline.py"
    file.write_text(STAGES)
    nodes = Nodes(file, farm.url, count=2, seed=new_seed())
    try:
        with oche.streams.connect(farm.url) as streams:
            for topic in ("primes", "non_primes"):
                streams.subscribe(topic, channel="collector")
            for first in range(1, n + 1, n // 20):
                if restart and first == n // 2 + 1:
                    assert farm.server is not None
                    farm.server.kill()
                    farm.server.start()
                streams.publish("numbers", *({"number": number} for number in range(first, first + n // 20)))
                time.sleep(0.2)  # a pace at which the kills find work under way
            nodes.killing_ends()
            found = collect(farm.url, wanted(n))
            assert streams.depth(f"numbers{DEAD}") == 0
    finally:
        nodes.end()
    print(f"killed {dict(nodes.killed)}")
    check(found, n)
    assert nodes.killed["nodes"] >= 2
