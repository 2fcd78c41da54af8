"""What `kill -9` of one of two workers does: `python benchmarks/faults.py [--only loky,oche-local] [--quick]`.

40 jobs of 0.25 s, one of two workers killed 1.5 s after the first submit, options left alone; ideal is 5 s.
"""

from __future__ import annotations

import sys
from typing import Any

import run
from measure import ITEMS
from peers import load

HEADER = ("peer", "what was killed", "outcome", "begun twice", "takes calls afterwards")
VICTIM = {"child": "computing process", "node": "whole worker, started again at once"}


def words(figures: dict[str, Any], limit: float) -> str:
    """ "right in 5.3 s", or what went wrong."""
    if "right" not in figures and "begun" in figures and figures.get("late"):
        return f"hangs: nothing came within {limit:.0f} s"
    if "right" not in figures:
        return f"not measured: {figures.get('error', 'no reason known')}"
    if figures["right"] == ITEMS:
        return f"right in {figures['seconds']:.1f} s"
    parts = []
    if figures["errors"]:
        kinds = ", ".join(figures["errors"])
        count = sum(figures["errors"].values())
        parts.append(f"{count} error{'s' * (count > 1)} ({kinds}) in {figures['seconds']:.1f} s")
    if figures["missing"]:
        parts.append(f"{figures['missing']} missing after {limit:.0f} s, no error")
    return "; ".join(parts)


def main() -> None:
    parser = run.options("kill -9 of one of two workers, here and with the peers")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds until a result counts as missing")
    args = parser.parse_args()
    limit = min(args.limit, 20.0) if args.quick else args.limit
    names = run.chosen(args, farm=False)
    missing = {name: why for name in names if (why := run.absent(name))}
    cases = [(name, victim) for name in names if name not in missing for victim in load(name).victims]

    def measure(case: tuple[str, str]) -> dict[str, Any]:
        print(f"{case[0]}: {VICTIM[case[1]]}", file=sys.stderr, flush=True)
        return run.measure(case[0], args, victim=case[1], limit=limit)

    found = {case: measure(case) for case in cases}
    rows = []
    for (name, victim), figures in found.items():
        twice, usable = figures.get("twice"), figures.get("usable")
        rows.append([
            load(name).title, VICTIM[victim], words(figures, limit),
            "-" if twice is None else str(twice), "-" if usable is None else "yes" if usable else "no",
        ])  # fmt: skip
    heading = run.heading(names)
    print("# kill -9 of one of two workers\n")
    print("\n".join(f"- {line}" for line in heading))
    print(f"- {ITEMS} jobs of 0.25 s, ideal 5.0 s; killed 1.5 s after the first submit; limit {limit:.0f} s")
    print("- options as each peer has them by default, unless its name says otherwise")
    print(
        "- a whole worker is its parent process and all its children; a new one is started at once, as a service\n"
        "  manager with Restart=always does; peers whose workers live and die with the client have no such row"
    )
    print("- begun twice: jobs begun more than once; each counts once in a right outcome\n")
    print(run.table(HEADER, rows))
    print()
    for name, why in missing.items():
        print(f"- {load(name).title}: **missing**: {why}")
    flat = [{"peer": name, "killed": victim, **figures} for (name, victim), figures in found.items()]
    run.write_json(args, {"machine": heading, "limit": limit, "figures": flat, "missing": missing})


if __name__ == "__main__":
    main()
