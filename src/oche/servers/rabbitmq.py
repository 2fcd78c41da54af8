"""RabbitMQ."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from oche.servers.lifeline import end_with_parent
from oche.servers.server import PATIENCE, Server, free_port, need, tells

#: For a machine that also has the workers: who has nothing to do does not wait on the processor for more.
_SHARES = "+sbwt none +sbwtdcpu none +sbwtdio none"


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
        return [need("rabbitmq-server", "apt install rabbitmq-server")]

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
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _SHARES,
        }

    def start(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / "plugins").write_text("[].")
        (self.data / "rabbitmq.conf").write_text("log.console = false\n")
        settings = ", ".join(f"{{{name}, {value}}}" for name, value in self.settings.items())
        (self.data / "advanced.config").write_text(f"[{{rabbit, [{settings}]}}].\n")
        if self._names is None:
            self._names = subprocess.Popen(
                ["epmd", "-port", str(self._names_port), "-address", "127.0.0.1"], stdin=subprocess.DEVNULL,
                preexec_fn=end_with_parent if self.ends_with_us else None,
            )  # fmt: skip
        try:
            super().start()
        except BaseException:
            self._end_names()
            raise

    def answers(self) -> bool:
        return tells(self.port, b"AMQP\0\0\x09\x01", b"\x01\0\0")

    def pause(self) -> None:
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:  # a shell, which waits for the server; an orderly end would take seconds
            with suppress(ProcessLookupError):
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
