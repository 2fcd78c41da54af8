"""docs/engines.md: the table of traits is the drivers' own, and its commands show a job of ours."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from farms import Farm, until
from oche.queues.memory import MemoryQueue
from oche.queues.opening import driver, open_queue, schemes
from oche.queues.seam import Queue, State, Traits
from oche.testing.servers import RabbitMQ, free_port, missing
from oche.wire.job import VERSION, decode_job
from oche.wire.signing import Signer

TEXT = (Path(__file__).parent.parent / "docs" / "engines.md").read_text()
#: Column of the table -> the farm.
ENGINES = {"sqlite": "sqlite", "beanstalkd": "beanstalkd", "redis": "redis", "amqp": "rabbitmq", "nsq": "nsq",
           "gearman": "gearman"}  # fmt: skip
JOB = json.dumps(
    {"type": "job", "v": VERSION, "task": "math:factorial", "run": "r", "id": "1", "attempt": 0, "count": 1,
     "calls": [[5]], "fingerprint": "python", "reply": "oche.reply.r"}
).encode()  # fmt: skip


def table() -> dict[str, dict[str, str]]:
    """Trait -> engine -> what is written."""
    lines = TEXT.partition("## What each can do by itself")[2].strip().splitlines()
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[: lines.index("")]]
    names = [name.strip("`:") for name in head[1:]]
    return {row[0]: dict(zip(names, row[1:], strict=True)) for row in rows}


def check(engine: str, traits: Traits) -> None:
    for name, cells in table().items():
        written = cells[engine]
        assert written.startswith(("yes", "no", "with "))
        assert getattr(traits, name, True) is not written.startswith("no"), f"{engine}: {name}"


def test_the_table_names_every_trait() -> None:
    assert {field.name for field in fields(Traits) if field.type == "bool"} <= set(table())
    assert set(table()["durable"]) == {"local", *ENGINES}
    check("local", MemoryQueue.traits)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_table_is_what_the_drivers_say(engine: str, tmp_path: Path) -> None:
    if engine not in schemes():
        pytest.skip(f"this oche has no driver for {engine}")
    if (always := getattr(driver(f"{engine}://"), "traits", None)) is not None:  # whatever the server's settings are
        check(engine, always)
        return
    farm = Farm(ENGINES[engine], tmp_path)
    try:
        with open_queue(farm.url) as queue:
            check(engine, queue.traits)
    finally:
        farm.close()


def command(language: str, word: str) -> str:
    """The block of the document with this word in it."""
    (found,) = [
        block for block in re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL) if word in block
    ]
    return str(found).strip()


def run(line: str) -> str:
    """What a command of the document prints."""
    return subprocess.run(["sh", "-c", line], capture_output=True, timeout=30, check=True).stdout.decode()


@pytest.fixture
def put() -> Iterator[Callable[[str], Queue]]:
    """Puts a signed job at a URL."""
    queues: list[Queue] = []

    def put(url: str) -> Queue:
        queues.append(open_queue(url))
        queues[-1].put("oche.work", Signer(b"k" * 32).seal(JOB))
        return queues[-1]

    yield put
    for queue in queues:
        queue.close()


def is_ours(printed: str) -> bool:
    """Whether it begins with the job and goes on with the signature."""
    body, _, signature = printed.strip().partition("\n")
    return decode_job(body.encode()).task == "math:factorial" and re.fullmatch("[0-9a-f]{64}", signature) is not None


def test_beanstalkd_shows_it_to_a_line_of_shell(put: Callable[[str], Queue], tmp_path: Path) -> None:
    farm = Farm("beanstalkd", tmp_path)
    try:
        put(farm.url)
        assert farm.server is not None
        said, _, address = command("sh", "nc ").partition(" | nc ")
        assert address == "127.0.0.1 11300"
        with socket.create_connection(("127.0.0.1", farm.server.port), 10.0) as wire:  # as nc does, which may lack here
            wire.sendall(run(said).encode())
            told = wire.makefile("rb").read().decode()
        assert told.startswith("USING oche.work")
        assert is_ours(told.split("\n", 2)[2])
    finally:
        farm.close()


def test_redis_shows_it_to_redis_cli(put: Callable[[str], Queue], tmp_path: Path) -> None:
    missing("redis-cli")
    farm = Farm("redis", tmp_path)
    try:
        queue = put(farm.url)
        assert farm.server is not None
        assert is_ours(run(command("sh", "redis-cli").replace("6379", str(farm.server.port))))
        assert queue.stats("oche.work").ready == 1
    finally:
        farm.close()


def test_sqlite_shows_it_to_whoever_reads_the_file(put: Callable[[str], Queue], tmp_path: Path) -> None:
    put(f"sqlite:///{tmp_path}/jobs.db")
    reader = sqlite3.connect(f"file:{tmp_path}/jobs.db?mode=ro", uri=True)
    try:
        ((told,),) = reader.execute(command("sql", "SELECT")).fetchall()
    finally:
        reader.close()
    assert is_ours(told)


class Managed(RabbitMQ):
    """With its management plugin."""

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self.page = free_port()

    def environment(self) -> dict[str, str]:
        (self.data / "managed.conf").write_text(
            f"log.console = false\nmanagement.tcp.port = {self.page}\nmanagement.tcp.ip = 127.0.0.1\n"
        )
        (self.data / "managed").write_text("[rabbitmq_management].")
        files = {"CONFIG_FILE": "managed.conf", "ENABLED_PLUGINS_FILE": "managed"}
        return {**super().environment(), **{f"RABBITMQ_{name}": f"{self.data}/{file}" for name, file in files.items()}}

    def ready(self) -> bool:
        """Whether the page answers, if only that we are strangers."""
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.page}/api/overview", timeout=5).close()
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            return False
        return True


def test_rabbitmq_shows_it_to_rabbitmqadmin(put: Callable[[str], Queue], tmp_path: Path) -> None:
    missing("rabbitmq-server", "pika")
    missing("rabbitmqadmin")
    with Managed(tmp_path / "data") as server:
        until(server.ready, "the management plugin answers")
        queue = put(server.url)
        line = command("sh", "rabbitmqadmin").replace("15672", str(server.page))
        (told,) = json.loads(run(line))
        assert is_ours(told["payload"])
        until(lambda: queue.peek("oche.work", State.READY) is not None, "it is there again")
