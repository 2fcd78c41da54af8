"""The published pipeline on two nsqds, fed by plain HTTP POST."""

from __future__ import annotations

import http.client
import json
from contextlib import ExitStack, closing
from pathlib import Path

from pipelines import STAGES, Nodes, check, collect, new_seed, wanted

import oche
from farms import until
from oche.streams.seam import DEAD
from oche.testing.servers import NSQD, missing

N = 10_000
#: A killed nsqd has lost only what it had handed out.
ON_DISK = ["--mem-queue-size", "0"]


def test_the_published_pipeline_on_nsq_fed_by_http_while_workers_and_then_an_nsqd_are_killed(tmp_path: Path) -> None:
    """Not at once: nsqd keeps what it handed out in its memory, and a worker that lives is the other one who knows.

    And once: an nsqd that is killed again before it wrote down where it is overwrites what it took since.
    """
    missing("nsqd", "nsq")
    file = tmp_path / "pipeline.py"
    file.write_text(STAGES)
    with ExitStack() as stack:
        one, two = (stack.enter_context(NSQD(tmp_path / name, options=ON_DISK)) for name in ("one", "two"))
        wires = [stack.enter_context(closing(Feed(server))) for server in (one, two)]
        url = f"nsq://127.0.0.1:{one.port},127.0.0.1:{two.port}"
        with oche.streams.connect(url) as streams:
            for topic in ("primes", "non_primes"):
                streams.subscribe(topic, channel="collector")
        nodes = Nodes(file, url, count=2, seed=new_seed())
        try:
            for number in range(1, N // 2 + 1):
                wires[number % 2].publish(number)
            nodes.killing_ends()
            until(lambda: sum(wire.waiting() for wire in wires) == 0, "what the killed workers held is handled")
            for number in range(N // 2 + 1, N + 1):
                wires[number % 2].publish(number)
                if number == N * 3 // 4:
                    one.kill()
                    one.start()
                    wires[0].close()
            found = collect(url, wanted(N))
        finally:
            nodes.end()
        with oche.streams.connect(url) as streams:
            assert streams.depth(f"numbers{DEAD}") == 0
    print(f"killed {dict(nodes.killed)}, and an nsqd")
    check(found, N)
    assert nodes.killed.total() >= 2


class Feed(http.client.HTTPConnection):
    """What `curl` does, over one connection."""

    def __init__(self, server: NSQD) -> None:
        super().__init__("127.0.0.1", server.port + 1, timeout=10.0)

    def publish(self, number: int) -> None:
        """`curl -d '{"number": 7}' http://127.0.0.1:4151/pub?topic=numbers`"""
        self.request("POST", "/pub?topic=numbers", body=f'{{"number": {number}}}')
        assert self.getresponse().read() == b"OK"

    def waiting(self) -> int:
        """Messages of the topic that are not acknowledged."""
        self.request("GET", "/stats?format=json&topic=numbers")
        (topic,) = json.loads(self.getresponse().read())["topics"]
        (channel,) = topic["channels"]
        count: int = topic["depth"] + sum(channel[name] for name in ("depth", "in_flight_count", "deferred_count"))
        return count
