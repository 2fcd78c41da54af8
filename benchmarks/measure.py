"""Measures one peer, in a process of its own, as the JSON object in its only argument says (see `run.measure`).

The figures go to a file after each measure, so that a peer that hangs keeps what it had.
"""

from __future__ import annotations

import faulthandler
import json
import os
import statistics
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from machine import versions
from oche.compare.rates import enough, once
from peers import load
from peers.base import Missing, Peer, Unmeasured
from work import nap, noop

ITEMS = 40
KILL_AFTER = 1.5
#: measure -> calls at most, seconds of one run
RATES = {"one_by_one": (10_000, 0.8), "single": (10_000, 0.5), "batched": (10**6, 1.2), "chunked": (10**6, 1.2)}


def farm(peer: Peer, save: Callable[..., None], quick: bool, counts: dict[str, int]) -> None:
    """The measures of the table, in its order; `counts` has the calls of a run, where an earlier round found them."""
    begin = time.perf_counter()
    peer.start()
    if peer.result(peer.submit(noop, 7), 60.0) != 7:
        raise AssertionError("the first call gave a wrong answer")
    save(start=time.perf_counter() - begin)
    peer.computing()  # returns when both workers are there
    shorter = 0.2 if quick else 1.0
    counts = {**peer.counts, **counts}
    for name, (most, budget) in RATES.items():
        call = getattr(peer, name)
        try:
            counts[name] = counts.get(name) or enough(call, most, budget * shorter)
            save(**{name: counts[name] / once(call, counts[name])}, counts=counts)
        except Unmeasured:
            continue
    save(round_trip=statistics.median(peer.round_trip(200, 2.0 * shorter)))
    alive = [psutil.Process(pid).memory_info().rss for pid in peer.computing() if psutil.pid_exists(pid)]
    save(rss=statistics.median(alive) if alive else None)


def fault(peer: Peer, save: Callable[..., None], victim: str, limit: float) -> None:
    """Sleeping jobs on two workers, and `kill -9` of one."""
    peer.start()
    computing = peer.computing()
    if len(computing) < 2:
        raise AssertionError(f"two workers were expected, and these answered: {computing}")
    struck: list[BaseException | None] = []

    def strike() -> None:
        try:
            peer.kill(victim, computing)
            struck.append(None)
        except BaseException as error:
            struck.append(error)

    # The peer is used from the main thread alone: some of them know no other. Only the kill comes from aside.
    timer = threading.Timer(KILL_AFTER, strike)
    timer.start()
    save(begun=True)
    begin = time.monotonic()
    try:
        found = peer.run(nap, range(ITEMS), begin + limit)
    except Exception as error:
        found = [error] * ITEMS
    seconds = time.monotonic() - begin
    timer.join()
    if struck[0]:
        raise struck[0]
    right = sum(value == item for item, value in enumerate(found))
    failed = [value for value in found if isinstance(value, BaseException) and not isinstance(value, Missing)]
    errors = Counter(type(value).__name__ for value in failed)
    log = Path(os.environ["BENCH_LOG"])
    begun = Counter(log.read_text().split()) if log.exists() else Counter()
    twice = sum(count - 1 for count in begun.values())
    save(right=right, errors=errors, missing=ITEMS - right - len(failed), seconds=seconds, twice=twice)
    save(usable=usable(peer))


def usable(peer: Peer) -> bool:
    """Whether the peer takes another call afterwards."""
    try:
        peer.recover()
        return peer.result(peer.submit(noop, 7), 10.0) == 7
    except Exception:
        return False


def main(order: dict[str, Any]) -> None:
    faulthandler.enable()
    figures: dict[str, Any] = {}
    folder = Path(order["folder"])

    def save(**more: Any) -> None:
        figures.update(more)
        (folder / "figures.json").write_text(json.dumps(figures))

    os.environ["BENCH_LOG"] = str(folder / "begun")
    # What peers write into the home and the temporary directory goes with the folder.
    os.environ["HOME"] = os.environ["TMPDIR"] = tempfile.tempdir = os.environ["JOBLIB_TEMP_FOLDER"] = str(folder)
    try:
        adapter = load(order["peer"])
        save(versions=versions(adapter.packages))
        peer = adapter(folder)
        if order["victim"]:
            fault(peer, save, order["victim"], order["limit"])
        else:
            farm(peer, save, order["quick"], order["counts"])
    except BaseException as error:
        save(error=f"{type(error).__name__}: {error}")
        traceback.print_exc()
        for log in folder.glob("*.log"):
            print(log.name, log.read_text(errors="replace")[-2000:], file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # some peers' threads never end by themselves; whoever started this ends what is left below it


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
