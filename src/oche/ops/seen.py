"""What the doctor sees of a broker before it judges: plain values, so that a judgement is a function of them."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from oche.ops.finding import Finding, error, note, ok
from oche.queues.opening import local_host
from oche.queues.seam import Report, Traits

#: Where a server listens, if its URL does not say.
PORTS = {
    "beanstalkd": 11300, "redis": 6379, "rediss": 6379, "valkey": 6379, "amqp": 5672, "amqps": 5671, "nsq": 4150,
    "nsq+lookupd": 4161, "gearman": 4730,
}  # fmt: skip
_LISTENING = "0A"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A broker, looked at."""

    url: str  #: as it was given to the driver
    traits: Traits
    settings: Report  #: what the server says of itself, see `Queue.inspect`
    before: Report = field(default_factory=dict)  #: the same, before a job was put and taken
    exposed: bool = False  #: other machines reach it
    command: tuple[str, ...] = ()  #: the server's command line, where it runs here and may be seen

    @property
    def scheme(self) -> str:
        return urlsplit(self.url).scheme

    def number(self, name: str) -> int:
        """A setting as a whole number; 0 where it is not told."""
        try:
            return int(self.settings.get(name, 0))
        except ValueError:
            return 0


def places(url: str) -> list[tuple[str, int]]:
    """Hosts and ports of a URL, which may have several, with commas between."""
    parts = urlsplit(url)
    found = []
    for place in parts.netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{place}")
        port = PORTS.get(parts.scheme, 0)
        with suppress(ValueError):  # the driver will say so
            port = one.port or port
        found.append((one.hostname or "localhost", port))
    return found


def exposed(url: str) -> bool:
    """Whether other machines reach what the URL names: it is on one of them, or listens at all addresses of this."""
    return any(not local_host(f"tcp://[{host}]" if ":" in host else f"tcp://{host}") or _everywhere(port)
               for host, port in places(url))  # fmt: skip


def _everywhere(port: int) -> bool:
    """Whether something listens on this port at all addresses; False where the system does not tell."""
    for table in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, local, _, state, *_ = line.split()
            address, _, number = local.partition(":")
            if state == _LISTENING and not address.strip("0") and int(number, 16) == port:
                return True
    return False


def command_of(url: str, settings: Report, program: str) -> tuple[str, ...]:
    """The command line of the server, by the process id that it tells; empty if that is no such program here."""
    pid = str(settings.get("pid", ""))
    if not pid.isdecimal() or not local_host(url):
        return ()
    try:
        command = Path("/proc", pid, "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return ()
    return tuple(command) if Path(command[0]).name == program else ()


def without_password(url: str) -> str:
    """The URL, fit to be shown."""
    return re.sub(r"(?<=://)([^/@:]*):[^/@]*@", r"\1:***@", url)


def version(product: str, text: object, least: tuple[int, ...]) -> Finding:
    """Whether the server is new enough."""
    if not text:
        return note("version", f"{product}, which does not say which; {'.'.join(map(str, least))} or newer is needed")
    told = str(text)
    numbers = tuple(int(digits) for digits in re.findall(r"\d+", told)[: len(least)])
    if numbers and numbers < least:
        wanted = ".".join(map(str, least))
        return error("version", f"{product} {told} is older than {wanted}", f"upgrade it to {wanted} or newer")
    return ok("version", f"{product} {told}")


def size(count: float) -> str:
    """Bytes, in a unit that a person reads."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "bytes" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"
