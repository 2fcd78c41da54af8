"""beanstalkd."""

from __future__ import annotations

from pathlib import Path

from oche.servers.server import Server, need, tells


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
        command = [need("beanstalkd", "apt install beanstalkd"), "-l", "127.0.0.1", "-p", str(self.port)]
        if self.binlog is not None:
            self.binlog.mkdir(parents=True, exist_ok=True)
            command += ["-b", str(self.binlog)]
        if self.fsync is not None:
            command += ["-f", str(round(self.fsync * 1000))]
        if self.max_job_size is not None:
            command += ["-z", str(self.max_job_size)]
        return command

    def answers(self) -> bool:
        return tells(self.port, b"list-tube-used\r\n", b"USING")
