"""What this machine is, what is installed, and the processes that a benchmark started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
VENV = ROOT / ".bench" / "venv"
PR_SET_CHILD_SUBREAPER = 36  #: of <sys/prctl.h>


def python() -> str:
    """The interpreter that has the peers: of `.bench/venv` where that exists, else this one."""
    own = VENV / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def install(packages: Iterable[str]) -> None:
    """Makes `.bench/venv` and puts the peers and oche's own requirements there; one that fails is named, no more."""
    if not VENV.exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    own = [*project["dependencies"], *project["optional-dependencies"]["beanstalkd"], "psutil"]
    for wanted in [own, *([package] for package in dict.fromkeys(packages))]:
        done = subprocess.run([str(VENV / "bin" / "python"), "-m", "pip", "install", "-q", *wanted])
        print(f"{'installed' if done.returncode == 0 else 'FAILED   '} {' '.join(wanted)}")


def environment() -> dict[str, str]:
    """The environment of a measuring process and all below it."""
    path = os.pathsep.join([str(HERE), str(ROOT / "src")])
    programs = os.pathsep.join([os.path.dirname(python()), os.environ.get("PATH", "")])  # some start theirs by name
    return {**os.environ, "PATH": programs, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}


def adopt() -> None:
    """From now on, whatever loses its parent below this process becomes its child, so that `end_below` finds it.

    Daemons leave their parents on purpose, and some peers orphan processes; Linux only, elsewhere nothing happens.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_below(pid: int, patience: float = 10.0) -> None:
    """Kills, by their ids, all processes below this one; again until none is left, or `patience` seconds are over.

    Resource trackers are spared: they end by themselves when the last process they serve is gone, and only they
    know what to remove from shared memory then.
    """
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            alive = [process for process in psutil.Process(pid).children(recursive=True) if to_end(process)]
        except psutil.NoSuchProcess:
            return
        if not alive:
            return
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=0.2)


def to_end(process: psutil.Process) -> bool:
    try:
        dead = process.status() == psutil.STATUS_ZOMBIE
        return not dead and "resource_tracker" not in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def versions(packages: Iterable[str]) -> str:
    """ "name 1.2, name 3.4" of the packages as they are installed here; raises `PackageNotFoundError`."""
    names = [package.split("[")[0] for package in packages]
    return ", ".join(f"{name} {metadata.version(name)}" for name in names)


def describe() -> list[str]:
    """Lines that say what the figures were measured on."""
    model = platform.processor() or "unknown processor"
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    memory = psutil.virtual_memory().total / 2**30
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    asked = [python(), "-c", "import platform as p; print(p.python_implementation(), p.python_version())"]
    return [
        f"{model}, {os.cpu_count()} logical cores, {memory:.0f} GiB, {platform.system()} {platform.release()}",
        f"{subprocess.run(asked, capture_output=True, text=True).stdout.strip()}; load before the run: {load}",
    ]
