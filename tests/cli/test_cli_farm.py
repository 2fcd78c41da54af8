"""`oche status` and `oche jobs`: what is on a real broker, and hands on it."""

from __future__ import annotations

import json

from cli_shell import Shell

from farms import Farm, until
from oche.queues.opening import open_queue
from oche.queues.seam import State


def put_job(shell: Shell, farm: Farm) -> None:
    """A signed job of a client that is killed before any worker is there."""
    client = shell.start("run", "math:factorial", "--range", "5:6", "--on", farm.url)
    try:
        with open_queue(farm.url) as queue:
            until(lambda: queue.stats("oche.work").ready, "the job is put")
    finally:
        client.kill()
        client.communicate()


def test_status_shows_workers_runs_and_jobs(shell: Shell, farm: Farm) -> None:
    empty = shell.run("status", farm.url)
    assert "0 workers, 0 slots" in empty.stdout
    assert f"start one with `oche worker {farm.url}`" in empty.stderr
    worker = farm.worker("--slots", "2", "--grace", "0")
    client = shell.start("run", "work.py:forever", "--range", "1", "--on", farm.url)
    try:

        def seen() -> object:
            found = json.loads(shell.run("status", farm.url, "--json").stdout)
            busy = found["work"]["reserved"] == 1 and len(found["runs"]) == 1
            return busy and found["work"]["watching"] == 2 and found

        found = until(seen, "worker and client are seen")
        (node,), (run,) = found["workers"], found["runs"]
        assert (node["pid"], node["slots"], node["connected"]) == (worker.pid, 2, 2)
        assert (run["client"], run["named"]) == (True, False)
        out = shell.run("status", farm.url).stdout
        assert "1 worker, 2 slots, 1 jobs running, 0 waiting, 0 buried" in out
        assert node["name"] in out
        assert run["name"] in out
        assert "\x1b" not in out
    finally:
        client.kill()
        client.communicate()


def test_another_farm_sees_nothing_of_it(shell: Shell, farm: Farm) -> None:
    put_job(shell, farm)
    found = json.loads(shell.run("status", farm.url + "?farm=other", "--json").stdout)
    assert found["work"]["ready"] == 0
    assert found["runs"] == []


def test_peek_makes_a_job_readable(shell: Shell, farm: Farm) -> None:
    assert shell.run("jobs", "peek", farm.url, code=1).stderr == "no ready job in oche.work\n"
    put_job(shell, farm)
    found = json.loads(shell.run("jobs", "peek", farm.url, "--json").stdout)
    assert (found["kind"], found["task"], found["calls"]) == ("job", "math:factorial", [[5]])
    assert found["signature"] == "good"
    assert found["run"].startswith("_")
    text = shell.run("jobs", "peek", farm.url).stdout
    for part in ("math:factorial", "[[5]]", found["id"], found["broker_id"], "good"):
        assert part in text
    other = shell.run("jobs", "peek", farm.url, "--json", OCHE_KEY="ab" * 32)
    assert json.loads(other.stdout)["signature"] == "wrong"
    keyless = shell.run("jobs", "peek", farm.url, "--json", OCHE_CONFIG_DIR=str(shell.folder))
    assert json.loads(keyless.stdout)["signature"] == "not checked"


def test_bury_kick_delete(shell: Shell, farm: Farm) -> None:
    assert "nothing was buried" in shell.run("jobs", "bury", farm.url, code=1).stderr
    put_job(shell, farm)
    id_ = json.loads(shell.run("jobs", "peek", farm.url, "--json").stdout)["broker_id"]
    assert "nothing was buried" in shell.run("jobs", "bury", farm.url, "no-such-id", code=1).stderr
    assert json.loads(shell.run("jobs", "bury", farm.url, id_, "--json").stdout)["buried"] == id_
    with open_queue(farm.url) as queue:
        assert (queue.stats("oche.work").ready, queue.stats("oche.work").buried) == (0, 1)
        buried = queue.peek("oche.work", State.BURIED)
        assert buried is not None
        assert json.loads(shell.run("jobs", "kick", farm.url, "--json").stdout)["kicked"] == 1
        assert shell.run("jobs", "kick", farm.url).stdout == "0 jobs are ready again in oche.work\n"
        assert queue.stats("oche.work").ready == 1
        assert shell.run("jobs", "delete", farm.url, buried.id, stdin="n\n", code=130).stdout == ""
        assert queue.stats("oche.work").ready == 1
        assert shell.run("jobs", "delete", farm.url, buried.id, "--yes").stdout == f"job {buried.id} is deleted\n"
        assert queue.stats("oche.work").ready == 0
    assert "no ready, delayed or buried job" in shell.run("jobs", "delete", farm.url, buried.id, "--yes", code=1).stderr


def test_kick_leaves_delayed_jobs_alone_unless_asked(shell: Shell, farm: Farm) -> None:
    with open_queue(farm.url) as queue:
        queue.put("oche.work", b"later", delay=3600.0)
        shell.run("jobs", "kick", farm.url)
        assert queue.stats("oche.work").delayed == 1
        found = json.loads(shell.run("jobs", "peek", farm.url, "--state", "delayed", "--json").stdout)
        assert (found["kind"], found["text"], found["signature"]) == ("unknown", "later", "unsigned")
        shell.run("jobs", "kick", farm.url, "--delayed")
        assert queue.stats("oche.work").ready == 1
