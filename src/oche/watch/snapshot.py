"""What is to be seen of a farm on its broker at one moment: tubes, workers, runs, signals.

    queue.tubes, queue.stats, queue.signals  ->  Snapshot  ->  `oche status`, dashboards, alerts

The counts are taken one after the other, so they need not add up while jobs move.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from oche.queues.seam import Queue, TubeStats
from oche.wire.names import Farm


@dataclass(frozen=True, kw_only=True, slots=True)
class Tube:
    """Counts of one tube."""

    name: str
    ready: int
    reserved: int
    delayed: int
    buried: int
    watching: int  #: open connections that take jobs from it
    waiting: int  #: those of them that wait for one at this moment


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A worker, as its own tube tells."""

    name: str  #: host.pid.slots
    host: str
    pid: int  #: 0 where the name does not tell
    slots: int  #: as it was started
    connected: int  #: slots whose connection is open; fewer while some are lost


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run, as its reply tube tells."""

    name: str
    named: bool  #: somebody gave it its name: it waits for its client, also when that is gone
    outcomes: int  #: that wait for the client
    client: bool  #: it is there


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """A farm at one moment."""

    farm: str
    at: float  #: seconds since the epoch
    work: Tube  #: jobs for any worker; also the first of `tubes`
    tubes: tuple[Tube, ...]
    workers: tuple[Node, ...]
    runs: tuple[Run, ...]
    signals: tuple[str, ...]  #: stop flags that are up, without the farm's prefix

    @property
    def slots(self) -> int:
        """Slots that take jobs."""
        return self.work.watching

    @property
    def jobs(self) -> int:
        """Jobs that are not done, buried ones left out."""
        return self.work.ready + self.work.reserved + self.work.delayed


def snapshot(queue: Queue, farm: Farm) -> Snapshot:
    """Looks once; one broker operation a tube and three more. Raises `Disconnected`."""
    at = time.time()
    names = [*queue.tubes(farm.node_prefix), *queue.tubes(farm.reply_prefix)]
    stats = {name: queue.stats(name) for name in (farm.work, *names)}
    tubes = tuple(_tube(name, found) for name, found in stats.items())
    return Snapshot(
        farm=farm.name,
        at=at,
        work=tubes[0],
        tubes=tubes,
        workers=tuple(_node(tube, farm) for tube in tubes if tube.name.startswith(farm.node_prefix)),
        runs=tuple(_run(tube, farm) for tube in tubes if tube.name.startswith(farm.reply_prefix)),
        signals=tuple(sorted(name.removeprefix(farm.stop_prefix) for name in queue.signals(farm.stop_prefix))),
    )


def _tube(name: str, stats: TubeStats) -> Tube:
    return Tube(
        name=name,
        ready=stats.ready,
        reserved=stats.reserved,
        delayed=stats.delayed,
        buried=stats.buried,
        watching=stats.watching,
        waiting=stats.waiting,
    )


def _node(tube: Tube, farm: Farm) -> Node:
    name = tube.name.removeprefix(farm.node_prefix)
    host, pid, slots = (["", "", *name.rsplit(".", 2)])[-3:]
    return Node(name=name, host=host or name, pid=_number(pid), slots=_number(slots), connected=tube.watching)


def _run(tube: Tube, farm: Farm) -> Run:
    name = tube.name.removeprefix(farm.reply_prefix)
    outcomes = tube.ready + tube.reserved + tube.delayed
    return Run(name=name, named=not name.startswith("_"), outcomes=outcomes, client=tube.watching > 0)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
