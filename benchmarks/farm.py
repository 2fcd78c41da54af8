"""What a call costs, here and with the peers: `python benchmarks/farm.py [--only loky,oche-local] [--quick]`.

Two workers each, on the loopback. Peers that a goal names are measured in several rounds, turn by turn, since the
machine's own speed drifts; a figure is the median of its rounds.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from typing import Any

import goals
import run
from peers import load

HEADER = (
    "peer", "no-op/s, one by one", "no-op/s, one job a call", "no-op/s, map by default", "no-op/s, map by 100",
    "idle round trip, ms", "start, s", "RSS of a worker, MB",
)  # fmt: skip


def thousands(value: float | None, baseline: float | None) -> str:
    """ "12.3k (0.9)": the rate and its ratio to the baseline's."""
    if value is None:
        return "-"
    digits = f"{value:.0f}"
    if value >= 1e3:
        digits = f"{value / 1e6:.2f}M" if value >= 1e6 else f"{value / 1e3:.3g}k"
    if not baseline:
        return digits
    ratio = value / baseline
    return f"{digits} ({ratio:.0f})" if ratio >= 10 else f"{digits} ({ratio:.2g})"


def plain(value: float | None, factor: float, digits: str) -> str:
    return "-" if value is None else f"{value * factor:{digits}}"


def row(name: str, figures: dict[str, Any], base: dict[str, Any]) -> list[str]:
    cells = [thousands(figures.get(key), base.get(key)) for key in ("one_by_one", "single", "batched", "chunked")]
    return [
        load(name).title,
        *cells,
        plain(figures.get("round_trip"), 1e3, ".2f"),
        plain(figures.get("start"), 1, ".2f"),
        plain(figures.get("rss"), 1e-6, ".0f"),
    ]


def median(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Each figure's median over the rounds that have it; words stay as they were said last."""
    whole: dict[str, Any] = {}
    for key in dict.fromkeys(key for figures in rounds for key in figures):
        values = [figures[key] for figures in rounds if figures.get(key) is not None]
        if values:
            whole[key] = values[-1] if isinstance(values[0], str | dict) else statistics.median(values)
    return whole


def main() -> None:
    parser = run.options("no-op calls, round trips, start and memory of oche and its peers")
    parser.add_argument("--baseline", default="loky", help="the peer that ratios in brackets refer to")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the peers that a goal names")
    args = parser.parse_args()
    names = run.chosen(args, farm=True)
    begin = time.monotonic()
    missing = {name: why for name in names if (why := run.absent(name))}
    rounds: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for number in range(1 if args.quick else args.rounds):
        for name in names:
            if name in missing or (number and not load(name).core):
                continue
            print(f"round {number + 1}: {name}", file=sys.stderr, flush=True)
            counts = rounds[name][0].get("counts") if rounds[name] else None
            rounds[name].append(run.measure(name, args, limit=60.0, counts=counts))
    found = {name: median(several) for name, several in rounds.items()}
    base = found.get(args.baseline, {})
    heading = run.heading(names)
    print("# Two workers, loopback, medians\n")
    print("\n".join(f"- {line}" for line in heading))
    print(f"- in brackets: ratio to {args.baseline}" + ("; a quick run, not to be quoted" if args.quick else ""))
    print(f"- the run took {time.monotonic() - begin:.0f} s\n")
    print(run.table(HEADER, [row(name, found[name], base) for name in names if name in found]))
    print()
    for name, figures in found.items():
        said = [text for text in (figures.get("versions"), load(name).note) if text]
        if "error" in figures:
            said.append(f"**not all measured**: {figures['error']}")
        if said:
            print(f"- {load(name).title}: {'; '.join(said)}")
    for name, why in missing.items():
        print(f"- {load(name).title}: **missing**: {why}")
    print(f"\n## Goals\n\n{run.table(goals.HEADER, goals.rows(found))}")
    run.write_json(args, {"machine": heading, "figures": found, "missing": missing, "goals": goals.reached(found)})


if __name__ == "__main__":
    main()
