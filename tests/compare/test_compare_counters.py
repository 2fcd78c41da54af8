"""The counter comparison: what is guarded loses nothing, what is not may, and the race does every time."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from oche.cli.output import json_text
from oche.compare import counters as module
from oche.compare import counters_report as report
from oche.compare.counters import InFile, compare_counters
from oche.errors import ConfigError, Crashed
from oche.sharing.race import lost_updates, replay, schedule


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(folder))  # others may be at work in the one that all share
        comparison = compare_counters(3, 60, seed=5)
    assert os.listdir(folder) == []
    return comparison


def test_what_is_guarded_loses_nothing(found):
    assert found.expected == 180
    for name in report.SAFE:
        assert found.counts[name].got == 180
        assert found.counts[name].broken == 0
    assert 0 < found.counts["file"].got <= 180
    assert 0 < found.counts["Value"].got <= 180
    assert all(count.seconds > 0 for count in found.counts.values())


def test_the_race_loses_what_its_seed_says(found):
    assert found.race == lost_updates(3, 60, seed=5)
    assert found.race.got == replay(schedule(3, 60, 5)) < 180


def test_the_report_shows_all_of_it(found):
    text = str(report.table(found))
    assert "3 processes add 1 60 times each" in text
    for name, why in found.whys.items():
        assert f"\n{name}: {why}" in text
    assert "seed 5 says who" in text
    assert [goal.reached for goal in report.goals(found)] == [True, True]
    plain = json.loads(json_text(report.plain(found)))
    assert plain["found"]["counts"]["oche: Counter"]["got"] == 180


def test_a_race_that_hid_is_called_one(found):
    lucky = replace(found, counts={name: replace(count, got=180) for name, count in found.counts.items()})
    assert "Value lost nothing this time" in str(report.table(lucky))
    unlucky = replace(found, counts={name: replace(count, got=179) for name, count in found.counts.items()})
    assert [goal.reached for goal in report.goals(unlucky)] == [False, True]


def test_a_reader_that_meets_no_number_counts_on_from_nothing(tmp_path: Path):
    way = InFile(str(tmp_path))
    way.reset()
    assert (way.add(3), way.value()) == (0, 3)
    for half in ("", "12"):
        (tmp_path / "file").write_text(half)
        assert way.value() == 0
        assert (way.add(2), way.value()) == (1, 2)


def test_a_killed_process_is_told(monkeypatch):
    count = module._count

    def kill(crew, ways, place, processes, increments):
        if place == 2:
            psutil.Process(crew.pids[0]).kill()
        return count(crew, ways, place, processes, increments)

    monkeypatch.setattr(module, "_count", kill)
    before = set(psutil.Process().children())
    with pytest.raises(Crashed, match="run it again"):
        compare_counters(2, 5)
    assert len(set(psutil.Process().children()) - before) <= 1  # the resource tracker may be new


@pytest.mark.parametrize(("processes", "increments"), [(1, 10), (0, 1), (2, 0)])
def test_what_cannot_be_compared_is_refused(processes, increments):
    with pytest.raises(ConfigError, match="take 2 processes or more"):
        compare_counters(processes, increments)
