"""A million tiny calls through beanstalkd: the memory of client, workers and broker along the way.

    python benchmarks/memory.py [--calls 1000000] [--way map|submit|own]

`map` lets oche cut the jobs, `submit` makes a Future for each call, and `own` makes each call a job of its own.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import psutil

import oche
import servers
from machine import describe
from work import noop

STEPS = 10


def results(cluster: oche.Cluster, way: str, calls: int) -> Iterator[int]:
    """All results, in order; never more than some thousands of calls at a time are under way."""
    if way == "map":
        yield from cluster.map(noop, (x for x in range(calls)))
    elif way == "own":
        yield from cluster.map(noop, (x for x in range(calls)), chunksize=1)
    else:
        waiting = deque(cluster.submit(noop, x) for x in range(min(calls, 5_000)))
        for x in itertools.count(len(waiting)):
            if not waiting:
                return
            yield waiting.popleft().result(60)
            if x < calls:
                waiting.append(cluster.submit(noop, x))


def megabytes(pid: int) -> float:
    """Resident memory of a process and of all below it."""
    process = psutil.Process(pid)
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=lambda text: int(float(text)), default=1_000_000)
    parser.add_argument("--way", choices=("map", "submit", "own"), default="map")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["OCHE_CONFIG_DIR"] = folder + "/config"
        server = servers.Beanstalkd(Path(folder))
        command = [sys.executable, "-m", "oche.cli.main", "worker", server.url, "--slots", "2"]
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        worker = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.DEVNULL)
        try:
            with oche.connect(server.url) as cluster:
                assert cluster.submit(noop, 0).result(30) == 0
                measure(cluster, options.way, options.calls, server.process.pid, worker.pid)
        finally:
            for process in (worker, server.process):
                process.terminate()
                process.wait(20)


def measure(cluster: oche.Cluster, way: str, calls: int, broker: int, worker: int) -> None:
    """Prints a table of resident memory, and checks that every result is right."""
    print(f"# {calls:,} calls by {way}\n")
    print(*describe(), sep="\n")
    print("\n| done | client, MB | worker and its 2 children, MB | beanstalkd, MB |\n| --- | --- | --- | --- |")
    begin, total = time.perf_counter(), 0
    for done, value in enumerate(results(cluster, way, calls), 1):
        total += value
        if done % (calls // STEPS) == 0:
            client = psutil.Process().memory_info().rss / 2**20
            print(f"| {done:,} | {client:.1f} | {megabytes(worker):.1f} | {megabytes(broker):.1f} |", flush=True)
    seconds = time.perf_counter() - begin
    assert total == calls * (calls - 1) // 2, "a result was lost or counted twice"
    print(f"\n{calls / seconds:,.0f} calls/s; the sum of all results is right")


if __name__ == "__main__":
    main()
