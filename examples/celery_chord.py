"""Pi as a chord of Celery's, and by oche, on the same workers: the same darts, so the same integer.

In this folder, with a Redis on this machine, or where `BROKER` says:

    celery -A celery_chord worker -c 4 &
    python celery_chord.py 1e9
"""

import os
import sys
from itertools import pairwise

from celery import Celery, chord

import oche
from oche.algorithms.pi import darts_in

BROKER = os.environ.get("BROKER", "redis://127.0.0.1:6379/0")
app = Celery("celery_chord", broker=BROKER, backend=BROKER, include=["oche.engines.celery_app"])
app.conf.update(worker_prefetch_multiplier=1)


@app.task
def try_points(first: int, n: int) -> int:
    """How many of n darts fall inside the quarter circle. The first has this number, which tells where it lands."""
    return darts_in(first, first + n, seed=1)


@app.task
def add_up(counts: list[int]) -> int:
    """The callback: it runs when all the counts are there."""
    return sum(counts)


def main() -> None:
    """Prints what both count."""
    darts = int(float(sys.argv[1])) if len(sys.argv) > 1 else 100_000_000
    pieces = 20
    ends = [darts * i // pieces for i in range(pieces + 1)]
    tries = [try_points.s(first, end - first) for first, end in pairwise(ends)]
    print(f"chord: {chord(tries)(add_up.s()).get(timeout=600):,} of {darts:,} darts inside")
    with oche.connect("celery://celery_chord:app") as cluster:
        print(f"oche:  {oche.pi(darts, seed=1, cluster=cluster).inside:,} of {darts:,} darts inside")


if __name__ == "__main__":
    main()
