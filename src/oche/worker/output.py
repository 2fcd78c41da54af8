"""What a child prints, kept within bounds: the beginning, the end, and how much was left out between."""

from __future__ import annotations

#: Bytes kept of each end of one stream of one job.
KEPT = 8192


class Capture:
    """One stream of one job."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self.clear()

    def clear(self) -> None:
        """Forgets all of it."""
        self._head = b""
        self._tail = b""
        self._total = 0

    def __bool__(self) -> bool:
        return self._total > 0

    def add(self, data: bytes) -> None:
        """Takes what was printed next."""
        self._total += len(data)
        room = self._kept - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail = (self._tail + data)[-self._kept :] if len(data) < self._kept else data[-self._kept :]

    def text(self) -> str:
        """All that was kept; bytes that are not UTF-8 show as U+FFFD."""
        dropped = self._total - len(self._head) - len(self._tail)
        if not dropped:
            return (self._head + self._tail).decode(errors="replace")
        head, tail = self._head.decode(errors="replace"), self._tail.decode(errors="replace")
        return f"{head}\n... {dropped:,} bytes left out ...\n{tail}"

    def last_lines(self, count: int) -> str:
        """The last lines of it."""
        return "\n".join(self.text().splitlines()[-count:])
