"""Messages per second through topics: `python benchmarks/streams.py [ENGINE ...]`, each on a server of its own.

Published by one client in batches of 500, through a stage with two processes, read by one client in batches of 100.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from oche.streams import connect
from oche.testing.servers import NSQD, Beanstalkd, Gearmand, RabbitMQ, Redis, Server

N = 10_000
STAGE = """
from oche.streams import stage

@stage("numbers", channel="a", to="doubles", bound=1_000_000)
def double(message):
    return {"number": 2 * message["number"]}
"""


def engines(folder: Path) -> dict[str, Server | None]:
    """Those that are measured, with the durable setting of each that has one."""
    return {
        "local": None,
        "sqlite": None,
        "beanstalkd": Beanstalkd(folder / "binlog"),
        "redis": Redis(folder / "aof"),
        "rabbitmq": RabbitMQ(folder / "rabbitmq"),
        "nsq": NSQD(folder / "nsq", options=["--mem-queue-size", "0"]),
        "gearman": Gearmand(),
    }


def measure(url: str, file: Path) -> tuple[float, float, float]:
    """Messages per second: published, through the stage, read."""
    with connect(url) as streams:
        streams.subscribe("numbers", channel="a")
        streams.subscribe("doubles", channel="c")
        values = [{"number": number} for number in range(N)]
        began = time.perf_counter()
        streams.publish("numbers", *values)
        published = time.perf_counter() - began
        with streams.start(str(file), slots=2):
            while streams.depth("doubles") < 100:  # it has started
                time.sleep(0.01)
            before, began = streams.depth("doubles"), time.perf_counter()
            while (now := streams.depth("doubles")) < N:
                time.sleep(0.01)
            staged = (time.perf_counter() - began) / (now - before)
        began = time.perf_counter()
        assert len(list(streams.read("doubles", channel="c", limit=N))) == N
        return N / published, 1 / staged, N / (time.perf_counter() - began)


def main() -> None:
    """Prints a table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "double.py").write_text(STAGE)
        print(f"{'':12}{'publish/s':>12}{'stage/s':>12}{'read/s':>12}")
        for engine, server in engines(folder).items():
            if sys.argv[1:] and engine not in sys.argv[1:]:
                continue
            url = {"local": "local:", "sqlite": f"sqlite:///{folder}/jobs.db"}.get(engine, "")
            if server is not None:
                server.start()
                url = server.url
            try:
                rates = measure(url, folder / "double.py")
            finally:
                if server is not None:
                    server.__exit__()
            print(f"{engine:12}" + "".join(f"{rate:12,.0f}" for rate in rates), flush=True)


if __name__ == "__main__":
    main()
