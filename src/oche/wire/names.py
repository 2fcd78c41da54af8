"""The names of tubes and signals. A farm is all that shares one prefix on one broker: `oche` unless the URL says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from oche.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-+/;.$()]{0,99}")


def check_name(name: str, what: str) -> str:
    """Returns the name; raises `ConfigError` unless every broker can carry it inside a tube's name."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{what} {name!r} cannot be used: take 1 to 100 letters, digits or any of _-+/;.$(), and a letter, a digit "
            "or an underscore at its beginning"
        )
    return name


@dataclass(frozen=True, slots=True)
class Farm:
    """All tube and signal names of one farm."""

    name: str = "oche"

    @property
    def work(self) -> str:
        """Jobs for any worker."""
        return f"{self.name}.work"

    def reply(self, run: str) -> str:
        """Outcomes of one run; its client watches it as long as it lives."""
        return f"{self.reply_prefix}{run}"

    @property
    def reply_prefix(self) -> str:
        return f"{self.name}.reply."

    def node(self, worker: str) -> str:
        """Watched by each slot of a worker, so that others see who is there; named `host.pid.slots`."""
        return f"{self.node_prefix}{worker}"

    @property
    def node_prefix(self) -> str:
        return f"{self.name}.node."

    def stop_job(self, job: str) -> str:
        """Signal: give this job up, do not answer."""
        return f"{self.name}.stop.{job}"

    def stop_run(self, run: str) -> str:
        """Signal: this run is over; drop its jobs."""
        return f"{self.name}.stop.run.{run}"

    @property
    def stop_prefix(self) -> str:
        return f"{self.name}.stop."


def split_farm(url: str) -> tuple[str, Farm]:
    """The URL for the driver, without `farm=NAME`, and the farm; raises `ConfigError` for a bad name."""
    query = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    names = [value for key, value in query if key == "farm"]
    if not names:
        return url, Farm()
    rest = urlencode([(key, value) for key, value in query if key != "farm"])
    address = url.partition("?")[0] + (f"?{rest}" if rest else "")  # urlunsplit would drop a slash of sqlite:////
    return address, Farm(check_name(names[-1], "farm"))
