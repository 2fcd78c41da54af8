"""Queue servers for one measurement each: a free port of the loopback, a data folder of their own.

Their end is that of the process that started them: `machine.end_below` kills them by their ids.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

from machine import free_port

PATIENCE = 60.0  #: seconds until a server must answer


class MissingServer(Exception):
    """A server is not installed; the text says how to get it."""


class Server:
    """One running server; `port` is where it listens."""

    program = ""
    package = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / self.program
        self.folder.mkdir()
        self.port = free_port()
        with (self.folder / "log").open("wb") as log:
            settings = {**os.environ, **self.settings()}
            self.process = subprocess.Popen(self.command(self.find()), stdout=log, stderr=log, env=settings)
        self.wait()

    @classmethod
    def find(cls) -> str:
        """Path of the program; raises `MissingServer`."""
        found = shutil.which(cls.program, path=f"/usr/lib/rabbitmq/bin:{os.environ.get('PATH', '')}:/usr/sbin")
        if found is None:
            raise MissingServer(f"{cls.program} is not installed: apt-get install {cls.package}")
        return found

    @classmethod
    def version(cls) -> str:
        """Name and version as the program itself tells."""
        told = subprocess.run([cls.find(), *cls.version_flag], capture_output=True, text=True).stdout
        return told.strip().splitlines()[0] if told.strip() else cls.program

    version_flag: tuple[str, ...] = ("-v",)

    def command(self, program: str) -> list[str]:
        raise NotImplementedError

    def settings(self) -> dict[str, str]:
        return {}

    def operations(self) -> int | None:
        """Commands that the server has carried out; None where it does not count them."""
        return None

    def ask(self, line: bytes) -> str:
        """What the server answers to a line, as far as it comes in one piece."""
        with socket.create_connection(("127.0.0.1", self.port), 5.0) as wire:
            wire.sendall(line + b"\r\n")
            time.sleep(0.1)
            return wire.recv(2**16).decode()

    def wait(self) -> None:
        """Returns when the port is answered; raises `TimeoutError` after `PATIENCE`."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            except OSError:
                time.sleep(0.02)
        tail = (self.folder / "log").read_text(errors="replace")[-500:]
        raise TimeoutError(f"{self.program} did not answer on port {self.port} within {PATIENCE:.0f} s: {tail}")


class Beanstalkd(Server):
    program = package = "beanstalkd"

    def command(self, program: str) -> list[str]:
        return [program, "-l", "127.0.0.1", "-p", str(self.port)]

    @property
    def url(self) -> str:
        return f"beanstalkd://127.0.0.1:{self.port}"

    def operations(self) -> int:
        return sum(map(int, re.findall(r"^cmd-\S+: (\d+)", self.ask(b"stats"), re.MULTILINE)))


class Redis(Server):
    program = package = "redis-server"

    def command(self, program: str) -> list[str]:
        return [program, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder), "--save", ""]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def operations(self) -> int:
        """What clients of ours ask; the total would have each step of a script, too."""
        return sum(map(int, re.findall(r"^cmdstat_(?:evalsha|blpop|client\|list):calls=(\d+)",
                                       self.ask(b"INFO commandstats"), re.MULTILINE)))  # fmt: skip


class RabbitMQ(Server):
    """Run below the Debian wrapper, which would give up our settings and become another user."""

    program = package = "rabbitmq-server"

    @classmethod
    def version(cls) -> str:
        asked = ["dpkg-query", "-W", "-f", "RabbitMQ ${Version}", "rabbitmq-server"]
        try:
            return subprocess.run(asked, capture_output=True, text=True).stdout or "RabbitMQ"
        except OSError:
            return "RabbitMQ"

    def command(self, program: str) -> list[str]:
        return [program]

    def settings(self) -> dict[str, str]:
        (self.folder / "plugins").write_text("[].")
        return {
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": f"bench{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
        }

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"


class NSQ(Server):
    """One nsqd; HTTP is one port above."""

    program = package = "nsqd"
    version_flag = ("--version",)

    @classmethod
    def find(cls) -> str:
        try:
            return super().find()
        except MissingServer:
            raise MissingServer("nsqd is not installed: `make servers` builds it") from None

    def command(self, program: str) -> list[str]:
        addresses = [f"--tcp-address=127.0.0.1:{self.port}", f"--http-address=127.0.0.1:{self.port + 1}"]
        return [program, *addresses, f"--data-path={self.folder}"]

    @property
    def url(self) -> str:
        return f"nsq://127.0.0.1:{self.port}"


class Gearman(Server):
    program = "gearmand"
    package = "gearman-job-server"
    version_flag = ("--version",)

    def command(self, program: str) -> list[str]:
        return [program, "--listen=127.0.0.1", f"--port={self.port}", f"--log-file={self.folder}/gearmand.log"]

    @property
    def url(self) -> str:
        return f"gearman://127.0.0.1:{self.port}"
