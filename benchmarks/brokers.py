"""oche on every broker that is here, and Celery on the same: `python benchmarks/brokers.py [--quick] [--only ...]`.

Two workers each, on the loopback, in rounds, turn by turn; a figure is the median of its rounds. The measures are
those of farm.py; beside them what an idle worker asks of its broker.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from typing import Any

import goals
import run
from farm import median, plain, thousands
from idle import idle
from peers import PEERS, load

NAMES = [*(name for name in PEERS if name.startswith("oche-")), "celery-redis", "celery-rabbitmq"]
#: oche's peer -> who else stands on the same broker
BESIDE = {"oche-redis": "celery-redis", "oche-rabbitmq": "celery-rabbitmq"}
HEADER = (
    "engine", "calls/s, one by one", "one job a call", "map by default", "idle round trip, ms",
    "idle operations/s and slot", "one by one, to Celery on the same broker",
)  # fmt: skip


def row(name: str, found: dict[str, dict[str, Any]]) -> list[str]:
    figures, beside = found[name], found.get(BESIDE.get(name, ""), {})
    ratio = "-"
    if "one_by_one" in figures and "one_by_one" in beside:
        ratio = f"{figures['one_by_one'] / beside['one_by_one']:.1f}"
    return [
        load(name).title,
        *(thousands(figures.get(key), None) for key in ("one_by_one", "single", "batched")),
        plain(figures.get("round_trip"), 1e3, ".2f"),
        plain(figures.get("idle"), 1, ".2f"),
        ratio,
    ]


def main() -> None:
    parser = run.options("oche on every broker, beside Celery on the same")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, turn by turn")
    parser.add_argument("--idle", type=float, default=30.0, help="seconds to watch an idle worker")
    args = parser.parse_args()
    names = run.chosen(args, farm=True) if args.only else NAMES
    begin = time.monotonic()
    missing = {name: why for name in names if (why := run.absent(name))}
    rounds: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for number in range(1 if args.quick else args.rounds):
        for name in names:
            if name not in missing:
                print(f"round {number + 1}: {name}", file=sys.stderr, flush=True)
                counts = rounds[name][0].get("counts") if rounds[name] else None
                rounds[name].append(run.measure(name, args, limit=60.0, counts=counts))
    found = {name: median(several) for name, several in rounds.items()}
    for name, figures in found.items():
        broker = load(name).broker
        if name.startswith("oche-") and broker is not None:
            print(f"idle: {name}", file=sys.stderr, flush=True)
            figures["idle"], _ = idle(broker, 5.0 if args.quick else args.idle)
    heading = run.heading(names)
    print("# Brokers: two workers, loopback, medians\n")
    print("\n".join(f"- {line}" for line in heading))
    print(f"- the run took {time.monotonic() - begin:.0f} s" + ("; quick, not to be quoted\n" if args.quick else "\n"))
    print(run.table(HEADER, [row(name, found) for name in names if name in found]))
    print()
    for name, figures in found.items():
        if "error" in figures:
            print(f"- {load(name).title}: **not all measured**: {figures['error']}")
    for name, why in missing.items():
        print(f"- {load(name).title}: **missing**: {why}")
    print(f"\n## Goals\n\n{run.table(goals.HEADER, goals.rows(found, goals.BROKERS))}")
    told = {"machine": heading, "figures": found, "missing": missing, "goals": goals.reached(found, goals.BROKERS)}
    run.write_json(args, told)


if __name__ == "__main__":
    main()
