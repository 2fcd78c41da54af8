"""`oche doctor` on farms with workers, as a user runs it; and verbs that only look make no file."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_shell import Shell

import oche
from farms import Farm, until
from oche.queues.opening import open_queue
from oche.queues.seam import State
from oche.testing.servers import Server


@pytest.fixture(params=["redis", "rabbitmq", "gearman"])
def network_farm(
    request: pytest.FixtureRequest, tmp_path: Path, shell: Shell, shared_server: Callable[[str], Server | None]
) -> Iterator[Farm]:
    """The farms that the fixture `farm` has not."""
    folder = tmp_path / "farm"
    folder.mkdir()
    farm = Farm(request.param, folder, server=shared_server(request.param))
    try:
        yield farm
    finally:
        farm.close()


def ask(shell: Shell, url: str, code: int, **environment: str) -> dict[str, list[dict[str, Any]]]:
    """The findings by their topics."""
    told = json.loads(shell.run("doctor", url, "--json", code=code, **environment).stdout)
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in told["findings"]:
        found.setdefault(finding["topic"], []).append(finding)
    assert told["worst"] in {each["severity"] for several in found.values() for each in several}
    return found


def all_there(farm: Farm, slots: int) -> None:
    """Waits until so many slots wait for a job."""
    with open_queue(farm.url) as queue:
        until(lambda: queue.stats("oche.work").waiting >= slots, f"{slots} slots wait")


def nothing_left(farm: Farm) -> bool:
    """No job, no answer, and no tube but those of the workers that are there."""
    with open_queue(farm.url) as queue:
        names = queue.tubes("oche.")
        empty = all(sum((s.ready, s.reserved, s.delayed, s.buried)) == 0 for s in map(queue.stats, names))
        return empty and all(name == "oche.work" or name.startswith("oche.node.") for name in names)


def test_a_farm_in_good_health(shell: Shell, farm: Farm) -> None:
    farm.worker("--slots", "2")
    all_there(farm, 2)
    found = ask(shell, farm.url, 0)
    assert "1 worker with 2 slots" in found["workers"][0]["text"]
    assert "1 worker with our key" in found["code"][0]["text"]
    assert found["key"][0]["severity"] == "ok"
    assert nothing_left(farm)
    text = shell.run("doctor", OCHE_URL=farm.url).stdout
    assert text.startswith(farm.url)
    assert "\nok       reachable  " in text
    key = shell.run("key").stdout.strip()
    assert key not in text + json.dumps(found)


def test_no_worker_and_no_key_are_notes_and_no_key_is_made(shell: Shell, farm: Farm) -> None:
    found = ask(shell, farm.url, 0)
    assert found["workers"][0]["severity"] == found["key"][0]["severity"] == "note"
    assert found["workers"][0]["remedy"] == f"oche worker {farm.url}"
    assert not Path(os.environ["OCHE_CONFIG_DIR"], "key").exists()


def test_a_worker_with_another_key_is_told_from_one_with_ours(shell: Shell, farm: Farm) -> None:
    farm.worker("--slots", "1")
    farm.worker("--slots", "1", OCHE_KEY="ab" * 32)
    all_there(farm, 2)
    found = ask(shell, farm.url, 1)
    (key,) = [each for each in found["key"] if each["severity"] == "error"]
    assert f".{farm.workers[1].pid}.1 has another key" in key["text"]
    assert "1 worker with our key" in found["code"][0]["text"]
    assert nothing_left(farm)  # what it set aside, too
    assert "ab" * 32 not in json.dumps(found)


def test_workers_on_other_brokers_are_asked_the_same(shell: Shell, network_farm: Farm) -> None:
    farm = network_farm
    farm.worker("--slots", "1")
    farm.worker("--slots", "1", OCHE_KEY="ab" * 32)
    all_there(farm, 2)
    found = ask(shell, farm.url, 1)
    assert [each["severity"] for each in found["key"]] == ["error", "ok"]
    assert "1 worker with our key" in found["code"][0]["text"]
    assert found["durability"][0]["severity"] == {"rabbitmq": "ok", "redis": "note", "gearman": "warning"}[farm.engine]
    assert found["version"][0]["text"].lower().startswith(farm.engine)
    assert found["version"][0]["severity"] == found["access"][0]["severity"] == "ok"
    if farm.engine == "rabbitmq":
        assert "16,777,216 bytes" in found["limits"][0]["text"]
    assert nothing_left(farm)


def test_a_worker_with_another_oche_says_which(shell: Shell, farm: Farm, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(Path(oche.__file__).parent, other / "oche", ignore=shutil.ignore_patterns("__pycache__"))
    with (other / "oche" / "worker" / "pace.py").open("a") as file:
        file.write("# changed\n")
    path = os.pathsep.join([str(other), *(entry for entry in sys.path if entry)])
    farm.worker("--slots", "1", PYTHONPATH=path)
    all_there(farm, 1)
    found = ask(shell, farm.url, 4)
    (code,) = found["code"]
    assert (code["severity"], "of other source" in code["text"]) == ("warning", True)
    assert nothing_left(farm)


def test_a_worker_that_is_busy_is_no_ill_worker(shell: Shell, farm: Farm) -> None:
    farm.worker("--slots", "1", "--grace", "0")
    client = shell.start("run", "work.py:forever", "--range", "1", "--on", farm.url)
    try:
        with open_queue(farm.url) as queue:
            until(lambda: queue.stats("oche.work").reserved == 1, "the job runs")
        found = ask(shell, farm.url, 0)
        assert (found["code"][0]["severity"], "busy" in found["code"][0]["text"]) == ("note", True)
        with open_queue(farm.url) as queue:
            (node,) = queue.tubes("oche.node.")
            assert queue.stats(node).ready == 0  # the question was taken back
    finally:
        client.kill()
        client.communicate()


def test_jobs_that_wait_or_were_set_aside(shell: Shell, farm: Farm) -> None:
    with open_queue(farm.url) as queue:
        for tube in ("oche.work", "oche.other"):
            queue.put(tube, b"bad")
            delivery = queue.reserve([tube], 5.0)
            assert delivery is not None
            queue.bury(delivery)
        queue.put("oche.work", b"waits")
        found = ask(shell, farm.url, 4)
        assert "1 job waits" in found["workers"][0]["text"]
        texts = [each["text"] for each in found["buried"]]
        assert texts == ["1 job was set aside in oche.work", "1 job was set aside in oche.other"]
        assert "--tube oche.other" in found["buried"][1]["remedy"]
        assert queue.peek("oche.work", State.READY) is not None


def test_exit_codes_follow_the_worst_finding(shell: Shell) -> None:
    shell.run("doctor", "local:", code=0)
    shell.run("doctor", code=0)  # local: again
    shell.run("doctor", "beanstalkd://127.0.0.1:1", code=3)
    assert "known are" in shell.run("doctor", "nonsense://x", code=2).stderr
    assert "Exit codes" in shell.run("doctor", "--help").stdout


@pytest.mark.parametrize("verb", [("status",), ("doctor",), ("jobs", "peek"), ("jobs", "kick"), ("jobs", "bury")])
def test_who_only_looks_makes_no_file(shell: Shell, verb: tuple[str, ...]) -> None:
    told = shell.run(*verb, "sqlite:///typo.db", code=2).stderr
    assert f"there is no queue file {shell.folder}/typo.db" in told
    assert "`oche worker sqlite:///typo.db`" in told
    assert list(shell.folder.glob("typo*")) == []
