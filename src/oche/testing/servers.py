"""Real servers for tests: on free loopback ports, with data of their own, stopped by the pid that was started."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self
from urllib.request import urlopen

import pytest

#: Seconds a server may take to answer after its start, or to end.
PATIENCE = 10.0

_HINTS = {
    "beanstalkd": "apt install beanstalkd",
    "greenstalk": "pip install 'oche[beanstalkd]'",
    "redis-server": "apt install redis-server",
    "redis": "pip install 'oche[redis]'",
    "rabbitmq-server": "apt install rabbitmq-server",
    "pika": "pip install 'oche[rabbitmq]'",
    "memcached": "apt install memcached",
    "nsqd": "sh tests/build_nsq.sh",
    "nsqlookupd": "sh tests/build_nsq.sh",
    "nsq_tail": "sh tests/build_nsq.sh",
    "nsq": "pip install 'oche[nsq]'",
    **dict.fromkeys(("sklearn", "scipy", "IPython", "ipykernel", "nbclient"), "pip install 'oche[test]'"),
    "pymemcache": "pip install 'oche[memcached]'",
    "gearmand": "apt install gearman-job-server",
    "gearadmin": "apt install gearman-tools",
}


def missing(program: str | None = None, package: str | None = None) -> None:
    """Skips the test, saying why and how to get it, if a program or an importable package is not here.

    Where the environment sets CI it fails instead, so that no suite is green by being empty.
    """
    lacks = [name for name in (program,) if name and _find(name) is None]
    lacks += [name for name in (package,) if name and importlib.util.find_spec(name) is None]
    if lacks:
        reason = "; ".join(f"{name} is not installed: {_HINTS.get(name, f'install {name}')}" for name in lacks)
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def _find(program: str) -> str | None:
    """Its path. Debian's rabbitmq-server in /usr/sbin is a wrapper that would become another user."""
    return shutil.which(program, path=f"/usr/lib/rabbitmq/bin:{os.environ.get('PATH', os.defpath)}:/usr/sbin")


def free_port() -> int:
    """A loopback TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A server process; a subclass says how to start it and when it answers. Its port stays over restarts."""

    scheme = ""
    patience = PATIENCE  #: seconds it may take to answer after its start
    stdout: int | None = None  #: where to; None for ours

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the running server; raises `RuntimeError` if it does not run."""
        if self._process is None:
            raise RuntimeError(f"{type(self).__name__} on port {self.port} is not running; call start()")
        return self._process.pid

    def command(self) -> list[str]:
        """The program and its arguments."""
        raise NotImplementedError

    def environment(self) -> dict[str, str] | None:
        """Of its process; None for ours."""
        return None

    def answers(self) -> bool:
        """Whether the server does its work already; may raise `OSError` as long as it does not."""
        raise NotImplementedError

    def start(self) -> None:
        """Starts the server and waits until it answers; raises `RuntimeError` if it ends or takes over `patience`."""
        self._process = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=self.stdout,
            start_new_session=True,
            env=self.environment(),
        )
        end = time.monotonic() + self.patience
        while True:
            with contextlib.suppress(OSError):
                if self.answers():
                    return
            code = self._process.poll()
            if code is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"{self.command()} did not come up: exit status {code}")
            time.sleep(0.005)

    def kill(self) -> None:
        """SIGKILL; nothing if it does not run."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM; nothing if it does not run."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            process.send_signal(how)
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(PATIENCE)

    def pause(self) -> None:
        """SIGSTOP: the server keeps its connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


class Beanstalkd(Server):
    """beanstalkd. `binlog` is a directory and makes it durable; `fsync` is the seconds between two syncs, 0 for each
    write; `max_job_size` is in bytes."""

    scheme = "beanstalkd"

    def __init__(
        self, binlog: Path | None = None, *, fsync: float | None = None, max_job_size: int | None = None
    ) -> None:
        super().__init__()
        self.binlog = binlog
        self.fsync = fsync
        self.max_job_size = max_job_size

    def command(self) -> list[str]:
        command = ["beanstalkd", "-l", "127.0.0.1", "-p", str(self.port)]
        if self.binlog is not None:
            self.binlog.mkdir(parents=True, exist_ok=True)
            command += ["-b", str(self.binlog)]
        if self.fsync is not None:
            command += ["-f", str(round(self.fsync * 1000))]
        if self.max_job_size is not None:
            command += ["-z", str(self.max_job_size)]
        return command

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as probe:
            probe.sendall(b"list-tube-used\r\n")
            return probe.recv(100).startswith(b"USING")


class Redis(Server):
    """redis-server. `data` is a directory and makes it durable (append-only file); `options` are the server's own."""

    scheme = "redis"

    def __init__(self, data: Path | None = None, *, options: Sequence[str] = ()) -> None:
        super().__init__()
        self.data = data
        self.options = options

    def command(self) -> list[str]:
        command = [
            "redis-server",
            "--bind",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--save",
            "",
            "--loglevel",
            "warning",
        ]
        if self.data is not None:
            self.data.mkdir(parents=True, exist_ok=True)
            command += ["--appendonly", "yes", "--dir", str(self.data)]
        return [*command, *self.options]

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as probe:
            probe.sendall(b"PING\r\n")
            return probe.recv(100).startswith(b"+PONG")


class Gearmand(Server):
    """gearmand, which forgets all when it ends; `options` are the server's own."""

    scheme = "gearman"

    def __init__(self, *, options: Sequence[str] = ()) -> None:
        super().__init__()
        self.options = options

    def command(self) -> list[str]:
        program = _find("gearmand") or "gearmand"
        return [program, "-L", "127.0.0.1", "-p", str(self.port), "-l", "none", *self.options]

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as probe:
            probe.sendall(b"version\r\n")
            return probe.recv(100).startswith(b"OK")


class Memcached(Server):
    """memcached. `memory` is in MiB; `options` are the server's own."""

    scheme = "memcached"

    def __init__(self, memory: int = 64, *, options: Sequence[str] = ()) -> None:
        super().__init__()
        self.memory = memory
        self.options = options

    def command(self) -> list[str]:
        # As root it wants to be told whom to run as.
        user = pwd.getpwuid(os.geteuid()).pw_name
        address = ["-l", "127.0.0.1", "-p", str(self.port), "-U", "0"]
        return ["memcached", "-u", user, *address, "-m", str(self.memory), *self.options]

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as probe:
            probe.sendall(b"version\r\n")
            return probe.recv(100).startswith(b"VERSION")


class NSQD(Server):
    """nsqd, with `data` as its directory; `lookupds` are those it is known to; `options` are the server's own."""

    scheme = "nsq"

    def __init__(self, data: Path, *, lookupds: Sequence[NSQLookupd] = (), options: Sequence[str] = ()) -> None:
        super().__init__()
        self.port = _free_pair()  # its HTTP API has the next one
        self.data = data
        self.lookupds = lookupds
        self.options = options

    def command(self) -> list[str]:
        self.data.mkdir(parents=True, exist_ok=True)
        command = ["nsqd", "--data-path", str(self.data), "--log-level", "fatal", "--broadcast-address", "127.0.0.1"]
        command += ["--tcp-address", f"127.0.0.1:{self.port}", "--http-address", f"127.0.0.1:{self.port + 1}"]
        for lookupd in self.lookupds:
            command += ["--lookupd-tcp-address", f"127.0.0.1:{lookupd.port + 1}"]
        return [*command, *self.options]

    def answers(self) -> bool:
        return _pings(self.port + 1)

    def ask(self, path: str, data: bytes | None = None) -> bytes:
        """What its HTTP API answers, as to any client; a POST where there are data."""
        with urlopen(f"http://127.0.0.1:{self.port + 1}{path}", data=data, timeout=PATIENCE) as answer:
            body: bytes = answer.read()
            return body


class NSQLookupd(Server):
    """nsqlookupd; nsqds tell it where they are at the port after the one where it is asked."""

    scheme = "nsq+lookupd"

    def __init__(self) -> None:
        super().__init__()
        self.port = _free_pair()

    def command(self) -> list[str]:
        ports = ["--http-address", f"127.0.0.1:{self.port}", "--tcp-address", f"127.0.0.1:{self.port + 1}"]
        return ["nsqlookupd", "--log-level", "fatal", "--broadcast-address", "127.0.0.1", *ports]

    def answers(self) -> bool:
        return _pings(self.port)


def _free_pair() -> int:
    """A free port with a free one behind it."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError, OverflowError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port + 1))
            return port


def _pings(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as probe:
        probe.sendall(b"GET /ping HTTP/1.0\r\n\r\n")
        return b" 200 " in probe.recv(100)


class RabbitMQ(Server):
    """rabbitmq-server, durable, with `data` as its directory; `settings` are those of its application `rabbit`.

    A node has a name, and a program that knows names and ports runs beside it (epmd, here one of its own).
    """

    scheme = "amqp"
    patience = 60.0
    stdout = subprocess.DEVNULL  # a page of it, before it reads where to log to

    def __init__(self, data: Path, *, settings: Mapping[str, int] | None = None) -> None:
        super().__init__()
        self.data = data
        self.settings = settings or {}
        self._names_port = free_port()
        self._names: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        return [_find("rabbitmq-server") or "rabbitmq-server"]

    def environment(self) -> dict[str, str]:
        data = self.data
        return {
            **os.environ,
            "HOME": str(data),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._names_port),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(data / "advanced.config"),
            "RABBITMQ_CONFIG_FILE": str(data / "rabbitmq.conf"),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(data / "plugins"),
            "RABBITMQ_LOGS": str(data / "log"),
            "RABBITMQ_MNESIA_BASE": str(data / "data"),
            "RABBITMQ_NODENAME": f"oche{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_PID_FILE": str(data / "pid"),
        }

    def start(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / "plugins").write_text("[].")
        (self.data / "rabbitmq.conf").write_text("log.console = false\n")
        settings = ", ".join(f"{{{name}, {value}}}" for name, value in self.settings.items())
        (self.data / "advanced.config").write_text(f"[{{rabbit, [{settings}]}}].\n")
        if self._names is None:
            self._names = subprocess.Popen(
                ["epmd", "-port", str(self._names_port), "-address", "127.0.0.1"], stdin=subprocess.DEVNULL
            )
        try:
            super().start()
        except BaseException:
            self._end_names()
            raise

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as probe:
            probe.sendall(b"AMQP\0\0\x09\x01")
            return probe.recv(100)[:1] == b"\x01"

    def pause(self) -> None:
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:  # a shell, which waits for the server; an orderly end would take seconds
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait(PATIENCE)
            self._process = None

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self._end_names()

    def _end_names(self) -> None:
        if self._names is not None:
            self._names.kill()
            self._names.wait(PATIENCE)
            self._names = None
