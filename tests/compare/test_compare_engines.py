"""All engines side by side: what is here is measured, what is missing is named, and what hangs is cut off."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from oche.cli.main import main
from oche.cli.output import json_text
from oche.compare import engines as module
from oche.compare import engines_plot, engines_probe, engines_report
from oche.compare.engines import Comparison, Engine, compare_engines, pick
from oche.compare.engines_probe import KILLING, MARK, Figures, Kill
from oche.compare.engines_work import TASKS
from oche.compare.rates import WrongAnswer, enough, once
from oche.errors import ConfigError
from oche.servers.kinds import ALONE, KINDS
from oche.servers.lifeline import marked

HANG = "import subprocess, time; subprocess.Popen(['/bin/sleep', '600'], start_new_session=True); time.sleep(600)"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Three engines that are everywhere, and one whose server is not installed."""
    folder = tmp_path_factory.mktemp("temporary")
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(folder))
        patch.setenv("PATH", "/nowhere")
        only = ["sqlite", "thread", "beanstalkd", "local"]
        comparison = compare_engines("pi", workers=2, only=only, scale=0.02, on_progress=said.append)
    assert os.listdir(folder) == []
    assert said[0].row == "pi without an engine"
    assert {now.row.partition(":")[0] for now in said} >= set(only)
    assert sorted(now.done for now in said) == [now.done for now in said]
    return comparison


def engine(kind: str = "redis", **figures) -> Engine:
    return Engine(kind=kind, below="", figures=Figures(**figures), seconds=1.0)


def these(*engines: Engine) -> Comparison:
    return Comparison(
        workers=2, cores=2, task="pi", n=100, answer=78, alone=[2.0, 2.5], engines=engines, seconds=30.0
    )  # fmt: skip


def struck(**more) -> Kill:
    return Kill(
        **{"calls": 20, "right": 0, "wrong": 0, "errors": {}, "foreign": [], "missing": 0, "seconds": 1.3, **more}
    )


def test_what_is_here_is_measured(found):
    assert [engine.kind for engine in found.engines] == ["local", "thread", "sqlite", "beanstalkd"]
    assert found.answer == TASKS["pi"].compute(found.n, None)
    for engine in found.engines[:3]:
        figures = engine.figures
        assert (figures.error, figures.missing, figures.wrong, figures.done) == ("", "", "", True)
        assert None not in (figures.start, figures.one_by_one, figures.batched, figures.round_trip)
        assert found.speed_up(engine) > 0
        if engine.kind == "thread":
            assert (figures.kill, figures.memory, figures.processes) == (None, None, 1)
            assert "computes in the program itself" in figures.unkilled
        else:
            assert (figures.kill.right, figures.kill.calls, figures.processes) == (20, 20, 2)
            if sys.platform == "linux":
                assert figures.memory >= 1.9 * figures.worker_memory > 10**6


def test_what_is_missing_is_named_with_how_to_get_it(found):
    lacking = found.engines[3]
    assert lacking.figures.missing == "beanstalkd is not installed here; apt install beanstalkd"
    assert "beanstalkd is not here: beanstalkd is not installed here; apt install" in str(engines_report.table(found))


def test_the_report_shows_all_of_it(found):
    text = str(engines_report.table(found))
    assert text.startswith("2 workers on ")
    assert text.count(" right in ") == 2
    assert "thread: it computes in the program itself" in text
    assert "best speed-up: " in text
    assert "for this machine alone: local, thread, sqlite" not in text  # nobody else is there to compare with
    assert [goal.reached for goal in engines_report.goals(found)] == [True] * 4
    plain = json.loads(json_text(engines_report.plain(found)))
    assert plain["found"]["engines"][0]["figures"]["kill"]["right"] == 20
    assert list(plain["missing"]) == ["beanstalkd"]
    assert plain["wrong"] == []


def test_the_picture(found, tmp_path: Path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'oche[plot]'")
    engines_plot.save(found, tmp_path / "bars.png")
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    engines_plot.save(found, tmp_path / "bars.svg")
    text = (tmp_path / "bars.svg").read_text()
    assert all(
        name in text for name in ("local", "thread", "sqlite", "speed-up, pi", "A worker killed: local: right in")
    )
    engines_plot.save(these(engine(missing="no")), tmp_path / "bars.svg")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_one_that_hangs_is_cut_off_with_all_below_it(monkeypatch: pytest.MonkeyPatch):
    folders = []

    def command(order):
        folders.append(order.folder)
        return [sys.executable, "-c", HANG]

    monkeypatch.setattr(module, "command", command)
    found = compare_engines("noop", workers=1, only=["local", "redis"], total=3.0)
    for engine in found.engines:
        assert engine.figures.error == f"cut off after 1 s (start); --only {engine.kind} gives it 60 s" or (
            engine.figures.error == f"cut off after 2 s (start); --only {engine.kind} gives it 60 s"
        )
    assert found.seconds < 10
    assert [marked(MARK, folder) for folder in folders] == [{}, {}]
    assert not any(map(os.path.exists, folders))
    assert [goal.reached for goal in engines_report.goals(found)] == [True, None, False, True]
    assert "redis, not all was measured: cut off after" in str(engines_report.table(found))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_who_stops_it_leaves_nothing(monkeypatch: pytest.MonkeyPatch):
    folders = []

    def command(order):
        folders.append(order.folder)
        return [sys.executable, "-c", HANG]

    def stop(now):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "command", command)
    with pytest.raises(KeyboardInterrupt):
        compare_engines("noop", workers=1, only=["local"], on_progress=stop)
    assert [marked(MARK, folder) for folder in folders] == [{}]
    assert not any(map(os.path.exists, folders))


def test_one_that_dies_is_told_with_its_last_words(monkeypatch: pytest.MonkeyPatch):
    code = "import sys; sys.exit('MPI_Abort was called')"
    monkeypatch.setattr(module, "command", lambda order: [sys.executable, "-c", code])
    (engine,) = compare_engines("noop", workers=1, only=["local"]).engines
    assert engine.figures.error == "its program ended with exit status 1 (start); it said: MPI_Abort was called"


def test_a_wrong_answer_is_wrong_everywhere(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    code = """if True:
        import json, sys
        folder, step = sys.argv[1:]
        figures = dict(start=0.5, here=True, step=step, wrong="primes gave 1 instead of 2")
        open(f"{folder}/figures", "w").write(json.dumps(figures))
    """
    monkeypatch.setattr(module, "command", lambda order: [sys.executable, "-c", code, order.folder, "primes"])
    monkeypatch.setattr(module, "compare_engines", partial(compare_engines, scale=0.01))
    assert main(["compare", "engines", "--only", "local", "-n", "1", "--task", "primes"]) == 1
    told = capsys.readouterr()
    assert "primes among " in told.out
    assert "   WRONG\n" in told.out
    assert "local is WRONG: primes gave 1 instead of 2" in told.out
    assert "NO: every answer is right" in told.out
    assert "oche: this takes about 15 s; --only makes it less" in told.err


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'oche[plot]'")
    monkeypatch.setattr(module, "compare_engines", partial(compare_engines, scale=0.01))
    picture = tmp_path / "bars.svg"
    arguments = ["--task", "noop", "--only", "thread", "-n", "2", "--quiet", "--json", "--plot", str(picture)]
    assert main(["compare", "engines", *arguments]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    plain = json.loads(told.out)
    assert (plain["found"]["task"], plain["found"]["alone"]) == ("noop", [])
    assert plain["speed_up"] == {"thread": None}
    assert picture.stat().st_size > 1000


def test_what_cannot_be_compared_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert pick(None) == [*ALONE, *KINDS]
    with pytest.raises(
        ConfigError, match=r"no engine that can be started here is called 'slurm'; take some of local, "
    ):
        pick(["local", "slurm"])
    with pytest.raises(ConfigError, match="no engine is named"):
        pick([])
    with pytest.raises(ConfigError, match="there is no task 'e'; take one of pi, noop, primes"):
        compare_engines("e")
    with pytest.raises(ConfigError, match="take 1 or more"):
        compare_engines("noop", workers=0)
    assert main(["compare", "engines", "--plot", str(tmp_path / "bars.gif")]) == 2
    assert "no name for a picture" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kill", "text", "well"),
    [
        (struck(right=20), "right in 1.3 s", True),
        (struck(errors={"Broken": 20}, seconds=0.5), "20 Broken in 500 ms", True),
        (struck(right=18, errors={"Crashed": 2}), "18 right, 2 Crashed in 1.3 s", True),
        (struck(errors={"KeyError": 20}, foreign=["KeyError"]), "20 KeyError in 1.3 s", False),
        (struck(right=17, missing=3, seconds=20.0), "17 right, 3 missing after 20 s", False),
        (struck(right=19, wrong=1), "19 right, 1 WRONG in 1.3 s", False),
    ],
)
def test_what_became_of_a_killed_worker(kill: Kill, text: str, well: bool):
    found = these(engine(kill=kill, done=True))
    assert engines_report.killed(found.engines[0]) == text
    assert engines_report.goals(found)[1].reached is well
    assert found.engines[0].wrong is (kill.wrong > 0)


def test_an_engine_that_goes_down_with_its_worker():
    found = these(engine(start=1.0, step=KILLING, error="cut off after 40 s (a killed worker)"))
    assert engines_report.killed(found.engines[0]) == "see below"
    assert [goal.reached for goal in engines_report.goals(found)] == [True, False, False, True]


def test_who_should_take_which():
    one = {"one_by_one": 2000.0, "round_trip": 1e-3, "done": True}
    here = engine("local", start=0.1, task=1.0, here=True, memory=10**8, kill=struck(right=20), **one)
    there = replace(engine("celery", start=2.0, task=1.02, processes=1, **one), below="redis")
    said = str(engines_report.table(these(here, there, engine("dask", missing="no dask; pip install it"))))
    for text in (
        "quickest to start: local (100 ms)",
        "best speed-up: local, celery (redis) (2.00)",
        "lose less than a tenth to the engine, one by one: local 10 ms, celery (redis) 10 ms",
        "for this machine alone: local; workers of other machines may join: celery (redis)",
        "celery (redis) computes in 1 processes, not 2",
        "dask is not here: no dask; pip install it",
        "that took 2 s and then 2.5 s, and 2 workers were up to 2.00 times as fast: this machine had other things",
    ):
        assert f"\n{text}" in said or text in said
    assert "least memory" not in said  # one alone is not the best of anything


def test_calls_are_as_many_as_fill_the_time():
    assert once(lambda n: list(range(n)), 7) < 1
    with pytest.raises(WrongAnswer, match=r"3 calls gave wrong answers: \[0, 1\]"):
        once(lambda n: list(range(n - 1)), 3)
    assert enough(lambda n: list(range(n)), 5000, 60.0, first=100) == 5000


def test_all_tasks_are_exact():
    assert engines_probe.whoami("primes", 0.0) == os.getpid()
    assert TASKS["primes"].compute(1000, None) == 37
    assert TASKS["noop"] is None
