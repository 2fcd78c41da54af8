"""The Celery engine on real brokers: the suites, what a kill costs, whom it trusts, and beside another's own tasks."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import engine_chores
import pytest
from exact import check_exact
from kombu import Connection

import oche
from farms import until
from oche.engines.celery import CeleryEngine
from oche.engines.celery_app import TASK, Told, app_of
from oche.engines.celery_watch import MISSING, SILENCE, Out, Rule
from oche.engines.seam import Start
from oche.errors import ConfigError, Crashed, Disconnected, Refused, Unsupported
from oche.servers.celery import CeleryWorker
from oche.testing import executor_calls as calls
from oche.testing.cluster_suite import ClusterSuite
from oche.testing.executor_rig import lines
from oche.testing.executor_suite import ExecutorSuite, Rig
from oche.testing.servers import RabbitMQ, Redis, Server, free_port, missing
from oche.worker.cores import usable_cores

ROOT = Path(__file__).parents[2]


@contextmanager
def brokered(kind: str, folder: Path) -> Iterator[Server]:
    missing("redis-server" if kind == "redis" else "rabbitmq-server", "celery")
    with Redis() if kind == "redis" else RabbitMQ(folder / "rabbitmq") as server:
        yield server


@pytest.fixture(scope="class")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One node of two children, on Redis, for all tests of a class."""
    folder = tmp_path_factory.mktemp("celery")
    with brokered("redis", folder) as broker, CeleryWorker(broker.url, 2, folder) as worker:
        url = worker.url
        engine = CeleryEngine.open(url, Start())
        engine.close()
        script = f"import oche; executor = oche.connect({url!r})"
        yield Rig(open=lambda: oche.connect(url), traits=engine.traits, script=script)


class TestCelery(ExecutorSuite, ClusterSuite):
    @pytest.fixture
    def rig(self, shared: Rig) -> Rig:
        assert shared.traits.stop, "its worker shares memory with us"
        return shared


class Nodes:
    """A broker and two nodes of one child each."""

    def __init__(self, broker: Server, folder: Path) -> None:
        self.broker = broker
        self.nodes = [CeleryWorker(broker.url, 1, folder) for _ in range(2)]
        self.url = self.nodes[0].url

    def start(self) -> None:
        """Those that do not run."""
        for node in self.nodes:
            try:
                node.pid  # noqa: B018
            except RuntimeError:
                node.start()

    def hold(self, cluster: oche.Cluster, path: Path, count: int) -> list[oche.Future[str]]:
        """So many calls that run."""
        held = [cluster.submit(calls.hold, str(path)) for _ in range(count)]
        until(lambda: len(lines(path)) == count, "they run")
        return held


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("celery")
    with brokered(request.param, folder) as broker, ExitStack() as stack:
        nodes = Nodes(broker, folder)
        for node in nodes.nodes:
            stack.enter_context(node)
        yield nodes


def test_exact_answers_and_nothing_left(nodes: Nodes) -> None:
    before = set(threading.enumerate())
    with oche.connect(nodes.url) as cluster:
        assert cluster.slots == 2
        check_exact(cluster)
    assert set(threading.enumerate()) <= before
    assert not waiting_answers(nodes.broker)


def test_children_share_the_cores(nodes: Nodes) -> None:
    with oche.connect(nodes.url) as cluster:
        threads = cluster.submit(os.getenv, "OPENBLAS_NUM_THREADS").result(30)
    assert threads == os.environ.get("OPENBLAS_NUM_THREADS", str(usable_cores()))  # nodes of one child each


def test_poison_is_named(nodes: Nodes) -> None:
    if isinstance(nodes.broker, Redis):
        pytest.skip("the suite shows it there")
    with oche.connect(nodes.url) as cluster:
        error = cluster.submit(calls.die).exception(60)
    assert isinstance(error, Crashed)
    assert "attempt 3 of 3" in str(error)


def readable(broker: Redis) -> list[str]:
    """The types of the lines of JSON in the message that waits, as anybody can read them."""
    with Connection(broker.url) as connection:
        (message,) = connection.default_channel.client.lrange("oche", 0, -1)
    (text,), *_ = json.loads(base64.b64decode(json.loads(message)["body"]))
    *said, signature = text.splitlines()
    assert len(signature) == 64
    return [json.loads(line)["type"] for line in said]


def waiting_answers(broker: Server) -> list[str]:
    """Queues of answers that are left on a Redis."""
    if not isinstance(broker, Redis):
        return []
    with Connection(broker.url) as connection:
        return [key.decode() for key in connection.default_channel.client.keys("oche.reply.*")]


def test_a_killed_node(nodes: Nodes, tmp_path: Path) -> None:
    nodes.start()
    path = tmp_path / "held"
    with oche.connect(nodes.url) as cluster:
        held = nodes.hold(cluster, path, 2)
        nodes.nodes[1].kill()
        killed = time.monotonic()
        Path(f"{path}.go").touch()
        assert [future.result(60) for future in held] == ["let go", "let go"]
        assert time.monotonic() - killed < 20
        assert len(lines(path)) == 3
        assert list(cluster.map(calls.square, range(100))) == [i * i for i in range(100)]


def test_calls_wait_for_a_worker_and_for_the_broker(
    nodes: Nodes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if not isinstance(nodes.broker, Redis):
        pytest.skip("once is enough")
    with oche.connect(nodes.url) as cluster:
        for node in nodes.nodes:
            node.kill()
        waits = cluster.submit(calls.square, 3)
        until(lambda: "no worker answers" in caplog.text, "it says so")
        assert not waits.done()
        assert readable(nodes.broker) == ["call", "job"]
        nodes.nodes[0].start()
        assert waits.result(60) == 9
        path = tmp_path / "held"
        held = nodes.hold(cluster, path, 1)
        nodes.broker.kill()
        waits = cluster.submit(calls.square, 4)
        nodes.broker.start()
        Path(f"{path}.go").touch()
        assert held[0].result(60) == "let go"
        assert waits.result(60) == 16
    assert caplog.text.count("no worker answers") <= 2


# Whom it trusts, and what it refuses


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with brokered("redis", tmp_path_factory.mktemp("celery")) as broker:
        yield broker


def test_who_does_not_have_the_key_is_refused(redis: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCHE_KEY", "ab" * 32)
    with CeleryWorker(redis.url, 1, tmp_path) as worker, oche.connect(worker.url) as cluster:
        assert cluster.submit(calls.square, 3).result(30) == 9
        monkeypatch.setenv("OCHE_KEY", "cd" * 32)
        with pytest.raises(ConfigError, match="another key"):
            oche.connect(worker.url)
        app = app_of(worker.url)
        with app.connection_for_write() as connection:
            for message in ("no job", f"no job\n{'0' * 64}", 7):
                app.send_task(TASK, (message,), connection=connection, reply_to="nobody", ignore_result=True)
        assert cluster.submit(calls.square, 4).result(30) == 16
        assert worker.log.read_text().count("a call was refused") == 3
        worker.kill()
        worker.start()
        error = cluster.submit(calls.square, 5).exception(30)
        assert isinstance(error, Refused)
        assert "another key" in str(error)


def test_a_pool_that_answers_nobody_is_refused(redis: Server, tmp_path: Path) -> None:
    solo = CeleryWorker(redis.url, 1, tmp_path, options=["--pool", "solo"])
    with solo, pytest.raises(Unsupported, match="--pool prefork"):
        oche.connect(solo.url)


def test_threads_take_no_time_limit(redis: Server, tmp_path: Path) -> None:
    threads = CeleryWorker(redis.url, 2, tmp_path, options=["--pool", "threads"])
    with threads, oche.connect(threads.url) as cluster:
        assert list(cluster.map(calls.square, range(100))) == [i * i for i in range(100)]
        with pytest.raises(Unsupported, match="timeout"):
            cluster.submit(oche.task(timeout=1)(calls.square), 3)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("celery+redis:", "names no broker"),
        ("celery+amqp:///", "names no broker"),
        ("celery://", "names no broker"),
        ("celery://no_such_module:app", "no_such_module"),
        ("celery://os:path", "no Celery app"),
    ],
)
def test_urls_that_cannot_be_right(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        oche.connect(url)


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_nobody_there(scheme: str) -> None:
    began = time.monotonic()
    with pytest.raises(Disconnected, match="not there") as caught:
        oche.connect(f"celery+{scheme}://user:secret@127.0.0.1:{free_port()}")
    assert "secret" not in str(caught.value)
    assert time.monotonic() - began < 20


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("oche.engines.celery")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "celery", None)
    with pytest.raises(ConfigError, match=r"pip install 'oche\[celery\]'"):
        oche.connect("celery+redis://127.0.0.1")


def test_workers_are_not_started_by_connect() -> None:
    for start in ({"max_workers": 2}, {"initializer": print}):
        with pytest.raises(Unsupported, match=r"celery -A oche\.engines\.celery_app worker"):
            oche.connect("celery+redis://127.0.0.1", **start)  # type: ignore[arg-type]


# An app of somebody else's


@pytest.fixture
def theirs(redis: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CeleryWorker:
    monkeypatch.setenv("BROKER", redis.url)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    monkeypatch.delitem(sys.modules, "celery_impatient", raising=False)
    return CeleryWorker(redis.url, 2, tmp_path, app="celery_impatient:app")


def test_a_long_call_whose_message_is_handed_out_again_runs_once(theirs: CeleryWorker, tmp_path: Path) -> None:
    path = str(tmp_path / "ran")
    with theirs, oche.connect(theirs.url) as cluster:
        assert cluster.slots == 2
        assert cluster.submit(oche.task(crashes=0)(engine_chores.lasting), path, 7, 3.0).result(60) == 7
        assert theirs.log.read_text().count(" received") > 1, "its message came back"
    assert lines(Path(path)) == [7]


def test_a_call_that_lasts_is_acknowledged_while_it_runs(
    theirs: CeleryWorker, redis: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONG", "0.01")
    path = tmp_path / "held"
    with theirs, oche.connect(theirs.url) as cluster, Connection(redis.url) as connection:
        client = connection.default_channel.client
        client.delete("unacked")
        held = cluster.submit(calls.hold, str(path))
        until(lambda: client.hlen("unacked") == 1, "it runs")
        until(lambda: client.hlen("unacked") == 0, "it is acknowledged")
        assert not held.done()
        os.kill(lines(path)[0], signal.SIGKILL)
        until(lambda: len(lines(path)) == 2, "it runs again")
        Path(f"{path}.go").touch()
        assert held.result(60) == "let go"


def test_an_app_without_our_task_is_named(redis: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "celery_strange.py"
    program.write_text(f"from celery import Celery\napp = Celery('strange', broker={redis.url!r})\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.syspath_prepend(tmp_path)
    strange = CeleryWorker(redis.url, 1, tmp_path, app="celery_strange:app")
    with strange, pytest.raises(Unsupported, match=r"oche-\d+@.* include="):
        oche.connect(strange.url)


def test_a_chord_and_oche_count_the_same_on_the_same_workers(
    redis: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = ROOT / "examples" / "celery_chord.py"
    monkeypatch.setenv("BROKER", redis.url)
    monkeypatch.setenv("PYTHONPATH", str(program.parent), prepend=os.pathsep)
    with CeleryWorker(redis.url, 2, tmp_path, app="celery_chord:app"):
        command = [sys.executable, str(program), "3e6"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    count = f"{oche.pi(3_000_000, seed=1).inside:,} of 3,000,000 darts inside"
    assert done.stdout == f"chord: {count}\noche:  {count}\n"


# Which calls are lost


def told(has: list[str] | None = None, died: list[str] | None = None) -> Told:
    return Told(ask=1, node="a", has=has or [], died=died or [], pool="prefork", slots=1, near=True)


class Looks:
    """A rule that looks once a second at calls `a` and `b`, which were put in this order; it knows workers n and m."""

    def __init__(self, known: str = "nm") -> None:
        self.rule, self.now = Rule(), 1000.0
        self.out = {name: Out("", number=number) for number, name in enumerate("ab", 1)}
        for worker in known:
            self.rule.hear(worker)
        self.look(True, **{worker: told() for worker in known})

    def look(self, waiting: bool = False, pause: float = 1.0, **workers: Told) -> list[str]:
        self.now += pause
        for worker in workers:
            self.rule.hear(worker)
        return self.rule.lost(self.out, workers, waiting, self.now)

    def after(self, waiting: bool = False, **workers: Told) -> dict[str, int]:
        """After how many seconds each call is lost, of ten."""
        found: dict[str, int] = {}
        for second in range(1, 11):
            for name in self.look(waiting, **workers):
                found.setdefault(name, second)
        return found


def test_what_a_worker_has_is_not_lost() -> None:
    assert Looks().after(n=told(["a"]), m=told(["b"])) == {}


def test_what_nobody_has_is_lost_at_the_second_look() -> None:
    assert Looks().after(n=told(["b"]), m=told()) == {"a": 2}


def test_what_a_dead_worker_had_is_lost_after_its_silence() -> None:
    looks = Looks()
    looks.look(n=told(["a"]), m=told(["b"]))
    assert looks.after(True, m=told(["b"])) == {"a": SILENCE + MISSING}
    assert looks.after(m=told(["a", "b"])) == {}


def test_a_worker_that_is_slow_to_answer_is_not_dead() -> None:
    looks = Looks()
    looks.look(n=told(["a"]), m=told(["b"]))
    for _ in range(10):
        assert looks.look(m=told(["b"])) == []
        looks.rule.hear("n")


def test_what_waits_in_the_queue_is_not_lost_until_one_behind_it_is_taken() -> None:
    assert Looks().after(True, n=told(), m=told()) == {}
    assert Looks().after(True, n=told(["a"]), m=told()) == {}
    assert Looks().after(True, n=told(["b"]), m=told()) == {"a": 2}


def test_without_any_worker_calls_wait() -> None:
    assert Looks(known="").after() == {}


def test_a_dead_child_is_told_at_once() -> None:
    assert Looks().look(n=told(["a"], died=["a"]), m=told(["b"])) == ["a"]


def test_a_message_that_came_back_is_believed_when_all_have_told() -> None:
    looks = Looks()
    looks.out["a"].doubt = True
    assert looks.look(n=told(["a"]), m=told(["b"])) == []
    looks.out["a"].doubt = True
    assert looks.look(m=told(["b"])) == []  # n may have it
    assert looks.look(n=told(), m=told(["b"])) == ["a"]


def test_time_in_which_the_broker_was_away_does_not_count() -> None:
    looks = Looks()
    looks.look(n=told(["a"]), m=told(["b"]))
    assert looks.look(pause=3600.0, m=told(["b"])) == []
    assert "n" in looks.rule.silent
    assert looks.look(pause=0.1, n=told(["a"]), m=told(["b"])) == []
