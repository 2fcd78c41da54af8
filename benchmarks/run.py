"""What the two tables share: which peers, one process a measurement, and markdown."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import machine
from peers import PEERS, load
from servers import MissingServer


def options(text: str) -> argparse.ArgumentParser:
    """The options of both programs."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--only", default="", help=f"comma-separated, of: {', '.join(PEERS)}")
    parser.add_argument("--quick", action="store_true", help="shorter: to see that it works, not to quote")
    parser.add_argument("--json", metavar="FILE", help="write all figures there too")
    parser.add_argument("--verbose", action="store_true", help="show what peers print, and their tracebacks")
    parser.add_argument("--install", action="store_true", help="make .bench/venv with all peers first")
    return parser


def chosen(args: argparse.Namespace, *, farm: bool) -> list[str]:
    """The peers to measure; ends the program for a name that is none."""
    if args.install:
        machine.install(wanted for name in PEERS for wanted in load(name).packages)
    names = args.only.split(",") if args.only else [name for name in PEERS if load(name).in_farm or not farm]
    if unknown := sorted(set(names) - set(PEERS)):
        sys.exit(f"--only {','.join(unknown)}: no such peer; there are: {', '.join(PEERS)}")
    return names


def absent(name: str) -> str | None:
    """What a peer lacks on this machine and how to get it, in words; None if it is all there."""
    adapter = load(name)
    try:
        if adapter.broker:
            adapter.broker.find()
    except MissingServer as error:
        return str(error)
    wanted = [package.split("[")[0] for package in adapter.packages]
    code = f"import importlib.metadata as m; [m.version(p) for p in {wanted!r}]"
    if adapter.__module__ == "peers.oche":
        code += "; import oche.cluster, click, cloudpickle; import oche; oche.connect"
        if scheme := adapter.scheme:
            code += f"; from oche.queues.opening import schemes; assert {scheme!r} in schemes(), 'no driver {scheme}:'"
    tried = subprocess.run([machine.python(), "-c", code], env=machine.environment(), capture_output=True, text=True)
    if tried.returncode:
        return f"{tried.stderr.strip().splitlines()[-1]}; `python benchmarks/farm.py --install` puts all in .bench/venv"
    return None


def measure(
    name: str, args: argparse.Namespace, *, limit: float, victim: str = "", counts: dict[str, int] | None = None
) -> dict[str, Any]:
    """One peer measured in a process of its own; nothing below it outlives this call.

    The process itself goes first, since a pool that still lives starts a new worker for each one that is killed.
    """
    machine.adopt()
    output = sys.stderr if args.verbose else subprocess.DEVNULL
    with tempfile.TemporaryDirectory(prefix="oche-bench-", ignore_cleanup_errors=True) as folder:
        order = {
            "peer": name, "victim": victim, "limit": limit,
            "folder": folder, "quick": args.quick, "counts": counts or {},
        }  # fmt: skip
        command = [machine.python(), str(machine.HERE / "measure.py"), json.dumps(order)]
        process = subprocess.Popen(command, env=machine.environment(), stdout=output, stderr=output)
        late = False
        try:
            process.wait(limit + 60)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            process.kill()
            process.wait()
            machine.end_below(os.getpid())
        path = Path(folder) / "figures.json"
        figures: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if late:
        figures |= {"late": True, "error": f"not done after {limit + 60:.0f} s"}
    elif not figures:
        figures["error"] = f"the measuring process ended with {process.returncode}; try --verbose"
    return figures


def heading(names: Sequence[str]) -> list[str]:
    """Machine, servers and oche's version."""
    lines = machine.describe()
    brokers = dict.fromkeys(broker for name in names if (broker := load(name).broker))
    for broker in brokers:
        try:
            lines.append(broker.version())
        except MissingServer:
            continue
    if any(load(name).__module__ == "peers.oche" for name in names):
        try:
            lines.append(f"oche {metadata.version('oche')}, {revision()}")
        except metadata.PackageNotFoundError:
            lines.append(f"oche, {revision()}")
    return lines


def revision() -> str:
    """The commit that is measured, marked where files differ from it."""
    told = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=machine.ROOT, capture_output=True, text=True)
    return told.stdout.strip() or "no commit known"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_json(args: argparse.Namespace, value: dict[str, Any]) -> None:
    if args.json:
        Path(args.json).write_text(json.dumps(value, indent=2) + "\n")
