"""The tubes that a connection to NSQ watches, and the lines over which their jobs come.

A line is for one topic on one nsqd, for good. One that is not needed for coming jobs, but for some that are held, is
told to close: it is not counted among those who watch, and ends with the last of these jobs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from oche.queues.nsq.names import topic_of
from oche.queues.nsq.nodes import Node
from oche.queues.nsq.talk import Talk
from oche.queues.nsq.wire import Line


class Watch:
    """For use within `Talk.talk`."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.tubes: tuple[str, ...] = ()
        self.parting: set[Line] = set()

    def change(self, tubes: tuple[str, ...], busy: Collection[Line]) -> None:
        """Exactly these tubes are watched from now on; over the busy lines came jobs that are held."""
        if tubes == self.tubes:
            return
        for tube in [tube for tube in self.tubes if tube not in tubes]:
            for node, line in list(self.lines([tube])):
                del node.lines[tube]
                if line in busy:
                    line.ask(b"CLS\n")
                    self.parting.add(line)
                else:
                    node.leave(line.topic)
                    self._talk.end(line)
        self.tubes = tubes
        for node in self._talk.nodes:
            self.join(node)

    def join(self, node: Node) -> None:
        """Watches the tubes on this nsqd too."""
        for tube in self.tubes:
            if tube not in node.lines:
                node.lines[tube] = line = node.subscribe(topic_of(tube))
                self._talk.listen(line)

    def lines(self, tubes: Iterable[str] | None = None) -> Iterator[tuple[Node, Line]]:
        """Those of these tubes, or of all that are watched, in the tubes' order."""
        for tube in self.tubes if tubes is None else tubes:
            for node in self._talk.nodes:
                if tube in node.lines:
                    yield node, node.lines[tube]

    def allow(self, tubes: Collection[str], room: int, held: Mapping[Line, int]) -> None:
        """Over the lines of these tubes so many jobs may come, beside those that are held; over others none."""
        for tube in self.tubes:
            for _, line in self.lines([tube]):
                line.let(held.get(line, 0) + len(line.arrived) + room if tube in tubes else 0)

    def idle(self, line: Line) -> None:
        """Nothing is held any more that came over this line."""
        if line in self.parting:
            self.parting.discard(line)
            line.settle()
            self._talk.end(line)

    def leave(self) -> None:
        """Deletes topics that came with us and hold nothing."""
        for node, line in self.lines():
            node.leave(line.topic)
