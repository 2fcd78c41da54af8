"""Processes side by side: each gets its share, errors come back, the dead are missed, and nobody is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from comparing import ENVIRONMENT, until

from oche.compare.crew import Crew
from oche.errors import ConfigError, Crashed, Unsupported
from oche.sharing.flag_mmap import MmapFlag

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def add(thing: int, x: int) -> tuple[int, int]:
    return os.getpid(), thing + x


def fail(thing: int) -> None:
    raise ValueError(f"bad {thing}")


def die(_thing: int, victim: bool) -> None:
    if victim:
        os.kill(os.getpid(), signal.SIGKILL)


def is_set(flag: MmapFlag) -> bool:
    return flag.is_set()


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_each_process_gets_its_share(method):
    with Crew(3, 10, method=method) as crew:
        pids = crew.pids
        assert crew.each(add, [(k,) for k in range(3)]) == [(pid, 10 + k) for k, pid in enumerate(pids)]
        with pytest.raises(ValueError, match="bad 10"):
            crew.each(fail, [()] * 3)
        assert crew.each(add, [(5,)] * 3) == [(pid, 15) for pid in pids]
    assert not any(psutil.pid_exists(pid) for pid in pids)
    crew.close()


def test_what_only_a_fork_inherits():
    with MmapFlag() as flag, Crew(2, flag, method="fork") as crew:
        flag.set()
        assert crew.each(is_set, [()] * 2) == [True, True]


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_killed_process_is_missed_and_the_others_end(method):
    with Crew(3, 0, method=method) as crew:
        pids = crew.pids
        with pytest.raises(Crashed, match="run it again"):
            crew.each(die, [(k == 1,) for k in range(3)])
    assert not any(psutil.pid_exists(pid) for pid in pids)
    with Crew(2, 0, method=method) as crew:
        victim = psutil.Process(crew.pids[0])
        victim.kill()
        until(lambda: victim.status() == psutil.STATUS_ZOMBIE, "it is dead")
        with pytest.raises(Crashed):
            crew.each(add, [(1,)] * 2)


def test_what_cannot_be(monkeypatch):
    with pytest.raises(ConfigError, match="take 1 or more"):
        Crew(0, None)
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: ["spawn"])
    with pytest.raises(Unsupported, match="knows no 'fork'"):
        Crew(1, None, method="fork")


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_nobody_outlives_a_killed_parent(method):
    code = (
        "import sys, time; from oche.compare.crew import Crew\n"
        "if __name__ == '__main__':\n"
        f"    crew = Crew(2, None, method={method!r}); print(*crew.pids, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=ENVIRONMENT)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    crew = [psutil.Process(pid) for pid in pids]
    assert len(crew) == 2
    parent.kill()
    parent.wait(10)
    parent.stdout.close()
    until(lambda: not any(process.is_running() for process in crew), "they end")


def test_who_is_busy_is_ended_by_an_error():
    began = time.monotonic()
    crew = Crew(2, 60)
    pids = crew.pids

    def leave_them() -> None:
        with crew:
            for _, pipe in crew._crew:
                pipe.send((time.sleep, ()))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        leave_them()
    assert time.monotonic() - began < 30
    assert not any(psutil.pid_exists(pid) for pid in pids)
