"""What the doctor says of real servers, started with settings good and bad."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from oche.errors import ConfigError
from oche.ops import doctor_beanstalkd
from oche.ops.doctor import JUDGES, diagnose
from oche.ops.finding import Diagnosis, Finding, Severity
from oche.ops.seen import PORTS, Seen
from oche.queues.opening import open_queue, schemes
from oche.testing.servers import Beanstalkd, Memcached, Redis, Server, missing


def about(found: Diagnosis, topic: str) -> Finding:
    """The finding on this topic; there must be one, and one only."""
    (one,) = [finding for finding in found.findings if finding.topic == topic]
    return one


def nothing_left(server: Server) -> bool:
    with open_queue(server.url) as queue:
        return queue.tubes("oche.") == []


@pytest.mark.parametrize(
    ("log", "options", "severity", "says"),
    [
        (False, [], Severity.WARNING, "no log"),
        (True, [], Severity.NOTE, "the last 50 ms"),
        (True, ["-f", "200"], Severity.NOTE, "the last 200 ms"),
        (True, ["-f0"], Severity.OK, "loses nothing"),
        (True, ["-F"], Severity.WARNING, "never synced"),
    ],
)
def test_what_a_power_cut_may_take_from_beanstalkd(
    log: bool, options: Sequence[str], severity: Severity, says: str, tmp_path: Path
) -> None:
    missing("beanstalkd", "greenstalk")

    class Told(Beanstalkd):
        def command(self) -> list[str]:
            return [*super().command(), *options]

    with Told(tmp_path / "binlog" if log else None) as server:
        found = diagnose(server.url)
        assert nothing_left(server)
    durability = about(found, "durability")
    assert durability.severity is severity
    assert says in durability.text
    assert "65,535 bytes" in about(found, "limits").text
    assert about(found, "version").severity is Severity.OK
    assert about(found, "access").text == "reached from this machine only"


def test_a_log_that_takes_nothing_any_more_is_found(tmp_path: Path) -> None:
    missing("beanstalkd", "greenstalk")
    with Beanstalkd(tmp_path / "binlog") as server:
        with open_queue(server.url) as queue:
            told = queue.inspect()
        assert about(diagnose(server.url), "durability").severity is Severity.NOTE
        with open_queue(server.url) as queue:
            after = {**told, "cmd-put": 15}  # nothing was written, though something was put
            seen = Seen(url=server.url, traits=queue.traits, settings=after, before=told)
        (durability,) = [each for each in doctor_beanstalkd.judge(seen) if each.topic == "durability"]
    assert durability.severity is Severity.ERROR
    assert "in memory only" in durability.text


@pytest.mark.parametrize(
    ("log", "options", "severity", "says"),
    [
        (False, [], Severity.WARNING, "no append-only file"),
        (True, [], Severity.NOTE, "synced each second"),
        (True, ["--appendfsync", "always"], Severity.OK, "loses nothing"),
        (True, ["--appendfsync", "no"], Severity.WARNING, "never synced"),
    ],
)
def test_what_a_power_cut_may_take_from_redis(
    log: bool, options: Sequence[str], severity: Severity, says: str, tmp_path: Path
) -> None:
    missing("redis-server", "redis")
    with Redis(tmp_path / "data" if log else None, options=options) as server:
        found = diagnose(server.url)
        assert nothing_left(server)
    durability = about(found, "durability")
    assert durability.severity is severity
    assert says in durability.text
    assert about(found, "clock").severity is Severity.OK
    assert about(found, "version").severity is Severity.OK


def test_redis_that_throws_keys_away_is_an_error() -> None:
    missing("redis-server", "redis")
    with Redis(options=["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]) as server:
        memory = about(diagnose(server.url), "memory")
    assert memory.severity is Severity.ERROR
    assert "allkeys-lru" in memory.text
    assert memory.remedy == "CONFIG SET maxmemory-policy noeviction"


class Locked(Redis):
    """With a password."""

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=5.0) as probe:
            probe.sendall(b"PING\r\n")
            return probe.recv(100).startswith(b"-NOAUTH")


def test_a_password_is_seen_and_never_shown() -> None:
    missing("redis-server", "redis")
    with Locked(options=["--requirepass", "quite-secret"]) as server:
        url = server.url.replace("redis://", "redis://:quite-secret@")
        found = diagnose(url)
        assert "with a password" in about(found, "access").text
        assert found.url == server.url.replace("redis://", "redis://:***@")
        assert "quite-secret" not in repr(found)
        with pytest.raises(ConfigError, match="refuses us"):
            diagnose(url.replace("quite", "not"))


class Anywhere(Beanstalkd):
    """At all addresses of this machine."""

    def command(self) -> list[str]:
        return ["0.0.0.0" if word == "127.0.0.1" else word for word in super().command()]


def test_a_broker_that_others_reach_without_a_password_is_a_warning() -> None:
    missing("beanstalkd", "greenstalk")
    if not Path("/proc/net/tcp").exists():
        pytest.skip("this system does not tell who listens where")
    with Anywhere() as server:
        found = diagnose(server.url)
    access = about(found, "access")
    assert access.severity is Severity.WARNING
    assert "no password" in access.text
    key = about(found, "key")
    assert key.severity is Severity.ERROR  # and there is no key on this machine
    assert "OCHE_KEY" in key.remedy


def test_redis_in_protected_mode_refuses_others_by_itself() -> None:
    missing("redis-server", "redis")
    with Redis(options=["--bind", "0.0.0.0"]) as server:
        access = about(diagnose(server.url), "access")
        assert (access.severity, "protected mode" in access.text) == (Severity.NOTE, True)
    with Redis(options=["--bind", "0.0.0.0", "--protected-mode", "no"]) as server:
        assert about(diagnose(server.url), "access").severity is Severity.WARNING


def test_a_file_is_looked_at_and_its_disk(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    open_queue(url).close()
    found = diagnose(url)
    assert "write-ahead log" in about(found, "durability").text
    assert "can be written" in about(found, "disk").text
    assert found.worst in (Severity.OK, Severity.NOTE)


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no queue file .*typo\.db"):
        diagnose(f"sqlite:///{tmp_path}/typo.db")
    assert not (tmp_path / "typo.db").exists()


def test_this_machine_by_itself() -> None:
    found = diagnose("local:")
    assert "a worker answered" in about(found, "reachable").text
    assert {"here", "journal", "temporary"} <= {finding.topic for finding in found.findings}


def test_an_engine_is_asked_what_it_is() -> None:
    found = diagnose("thread:")
    assert found.worst in ("ok", "note")
    assert "workers" in {finding.topic for finding in found.findings}


def test_nobody_answers() -> None:
    missing(package="greenstalk")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        found = diagnose(f"beanstalkd://127.0.0.1:{closed.getsockname()[1]}")
    assert not found.reachable
    assert about(found, "reachable").severity is Severity.ERROR
    assert about(found, "reachable").remedy == "start it or mend the URL"


def test_another_server_behind_the_port_is_found_out() -> None:
    missing("memcached")
    missing(package="greenstalk")
    with Memcached() as server:
        found = diagnose(f"beanstalkd://127.0.0.1:{server.port}")
    assert about(found, "reachable").severity is Severity.ERROR


def test_a_server_that_hangs_is_not_waited_for_long() -> None:
    missing("beanstalkd", "greenstalk")
    with Beanstalkd() as server:
        server.pause()
        found = diagnose(server.url)
        server.resume()
    assert not found.reachable
    assert "open a new one" in about(found, "reachable").remedy


@pytest.mark.parametrize("url", ["beanstalkd://x:no", "redis://", "sqlite://x", "nothing://x", "beanstalkd://x?farm=:"])
def test_a_url_that_cannot_be_right_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        diagnose(url)


def test_every_driver_has_a_judge() -> None:
    assert set(schemes()) <= set(JUDGES)
    assert set(JUDGES) - {"sqlite"} <= set(PORTS)
