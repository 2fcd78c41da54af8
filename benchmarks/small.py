"""Small things: what importing costs, the start of a local cluster, and a worker that has nothing to do.

python benchmarks/small.py [--seconds 60]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

import servers
from idle import idle
from machine import describe

TIMES = 7
IMPORT = "import time; t = time.perf_counter(); import oche; print(time.perf_counter() - t)"
START = (
    "import time; t = time.perf_counter(); import oche; c = oche.connect('local:', max_workers=2); "
    "c.submit(abs, -1).result(); print(time.perf_counter() - t); c.shutdown()"
)


def seconds(code: str) -> float:
    """The median of what the code prints, each time in a new process."""
    return statistics.median(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(TIMES)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to watch the idle worker")
    options = parser.parse_args()
    print(*describe(), sep="\n")
    print("\n| what | wanted | measured |\n| --- | --- | --- |")
    print(f"| `import oche`, median of {TIMES} | < 50 ms | {seconds(IMPORT) * 1e3:.1f} ms |")
    print(f"| import, `connect('local:')` and the first result | < 0.3 s | {seconds(START):.2f} s |", flush=True)
    rate, resident = idle(servers.Beanstalkd, options.seconds)
    print(f"| idle worker on beanstalkd: broker operations a second and slot | <= 0.2 | {rate:.3f} |")
    print(f"| idle worker: resident memory of its parent | < 40 MB | {resident:.1f} MB |")


if __name__ == "__main__":
    main()
