"""The race loses updates on every run, and the same ones for the same seed."""

from __future__ import annotations

import multiprocessing

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sharers import leftovers

import oche.sharing.race as module
from oche.errors import ConfigError, Crashed
from oche.sharing.race import Race, lost_updates, replay, schedule


@pytest.mark.parametrize("seed", [0, 1])
def test_real_processes_lose_what_the_replay_says(seed):
    before, children = leftovers(), set(multiprocessing.active_children())
    race = lost_updates(3, 40, seed=seed)
    assert race.expected == 120
    assert race.got == replay(schedule(3, 40, seed))
    assert race.lost >= 2
    assert str(race) == f"expected 120, got {race.got}: {race.lost} updates lost (seed {seed})"
    assert (leftovers() - before, set(multiprocessing.active_children())) == (set(), children)


def test_pinned():
    assert replay(schedule(4, 1000, 0)) == 1475


@settings(deadline=None)
@given(st.integers(2, 8), st.integers(1, 50), st.integers(0, 2**64))
def test_every_schedule_loses_and_gives_each_its_turns(processes, increments, seed):
    steps = schedule(processes, increments, seed)
    assert [steps.count(process) for process in range(processes)] == [2 * increments] * processes
    race = Race(expected=processes * increments, got=replay(steps), seed=seed)
    assert race.lost >= processes - 1
    assert race.got >= 1


def test_without_a_race_the_replay_counts_right():
    assert replay([0, 0, 1, 1, 0, 0]) == 3
    assert replay([0, 1, 0, 1]) == 1


@pytest.mark.parametrize(("processes", "increments"), [(1, 10), (0, 1), (2, 0)])
def test_what_cannot_race_is_refused(processes, increments):
    with pytest.raises(ConfigError, match="cannot race"):
        lost_updates(processes, increments)


def test_a_killed_process_is_named_and_the_others_end(monkeypatch):
    children = set(psutil.Process().children())
    go, turns = module._go, []

    def kill_later(process, pipe):
        turns.append(process)
        if len(turns) == 20:
            process.kill()
            process.join()
        go(process, pipe)

    monkeypatch.setattr(module, "_go", kill_later)
    with pytest.raises(Crashed, match="died in the middle"):
        lost_updates(2, 40)
    assert {child for child in psutil.Process().children() if child not in children and "race" in str(child)} == set()
    assert len(psutil.Process().children()) <= len(children) + 1  # the resource tracker may be new
