"""The jobs that a connection to NSQ takes and holds.

nsqd gives a message away that it has heard nothing of for `HOLDING` seconds: so soon do others get what a process
held that was killed or stopped. Meanwhile the connection says a word about each job it holds, at its verbs or at the
keeper's turn, for as long as the job's lease lasts; then it gives the job back itself.

No word helps once nsqd's `--max-msg-timeout` is over. Before that, the job is exchanged (`nsq_long`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

from nsq import protocol

from oche.queues.nsq.long import orphans, set_apart, take_back
from oche.queues.nsq.names import LONG, Facts, topic_of, tube_of, unwrap
from oche.queues.nsq.nodes import NOW, Node
from oche.queues.nsq.talk import KEEP, Talk
from oche.queues.nsq.watch import Watch
from oche.queues.nsq.wire import HOLDING, Arrival, Line

#: Seconds in which a message comes that was ready, in which the next follows one, and that it may take at most.
AT_ONCE, BEHIND, SOON = 0.002, 0.0002, 1.0
#: Seconds that a message which came too late to be taken waits for the next `take`.
STRAY = 0.25
#: Seconds between two looks for jobs whose holder died after it had them for long.
LOOKOUT = 15.0
#: The part of nsqd's longest time after which a message is exchanged for a new one.
LONG_PART = 0.6

_WORD = HOLDING / 3
_MARGIN = 0.5


@dataclass(slots=True, eq=False)
class Hold:
    """What a delivery stands for."""

    owner: Holds
    tube: str
    node: Node
    line: Line
    id: bytes
    body: bytes
    facts: Facts
    attempts: int
    since: float  #: this message came
    until: float  #: the lease ends
    due: float  #: the next word about it

    @property
    def apart(self) -> bool:
        """Whether it is in a topic of its own."""
        return LONG in self.line.topic


class Holds:
    """For use within `Talk.talk`."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._held: dict[tuple[Line, bytes], Hold] = {}
        self._watch = Watch(talk)
        self._room = 0  #: jobs that are to come now
        self._stray_since = 0.0
        self._last = self._next_turn = 0.0
        self._next_lookout = time.monotonic() + LOOKOUT

    # --- verbs

    def take(self, tubes: Sequence[str], limit: int, timeout: float) -> list[Hold]:
        """Up to `limit` jobs; it waits for the first of them only."""
        end = time.monotonic() + timeout
        if tuple(tubes) != self._watch.tubes:
            self._return_strays()
            self._watch.change(tuple(tubes), {hold.line for hold in self._held.values()})
        self._room = limit
        got: list[Hold] = []
        try:
            if timeout > 0.0:
                self._allow(tubes)
                self._gather(got, tubes, limit, end)
            else:
                for tube in tubes:
                    self._room = limit - len(got)
                    if self._room:
                        self._allow([tube])
                        self._gather_ready(got, tube, limit)
                        self._allow([])
        finally:
            self._room = 0
        self._allow([])
        if not got or (timeout <= 0.0 and len(got) < limit):  # nothing may come after we said that that was all
            for _, line in self._watch.lines(tubes):
                line.settle()
            self._collect(got, tubes, limit)
        if got:
            self._talk.turn_by(self._next_turn)
        return got

    def end(self, holds: Iterable[Hold], *, now: bool = True) -> set[Hold]:
        """These jobs are done with; those that were not ours any more. Without `now`, nobody waits to know it."""
        return self._say([(hold, protocol.finish(hold.id)) for hold in holds], now=now)

    def give_back(self, holds: Iterable[Hold]) -> None:
        """The jobs are ready, and have lost their holder."""
        apart = [hold for hold in holds if hold.apart]
        self._say([(hold, protocol.requeue(hold.id)) for hold in holds if not hold.apart])
        for hold in apart:
            self.move(hold, handed=hold.attempts)

    def move(self, hold: Hold, *, handed: int, topic: str = "", body: bytes | None = None, due: float = 0.0) -> bool:
        """Puts the held job anew, then ends it here; False if it is not ours any more. Who dies between leaves two."""
        if time.monotonic() > hold.due + _WORD and not self._still(hold):
            return False
        facts = Facts(handed=handed, lease=hold.facts.lease, due=due)
        target = topic or topic_of(hold.tube)
        hold.node.put(target, [hold.body if body is None else body], facts, channel=not topic)
        return not self.end([hold])

    def has(self, hold: Hold) -> bool:
        """Whether it is held still."""
        return self._held.get((hold.line, hold.id)) is hold and hold.id not in hold.line.lost

    def tend(self) -> float:
        """Says a word about what is held, gives back what has run out; the seconds until it should be called again."""
        while self._talk.found:
            node = self._talk.found.popleft()
            self._talk.take_in(node)
            self._watch.join(node)
            self._allow(self._watch.tubes if self._room else [])
        now = time.monotonic()
        self._clear_strays(now)
        if now < self._next_turn:
            return self._next_turn - now
        self.give_back([hold for hold in self._held.values() if hold.until <= now])
        for hold in list(self._held.values()):
            if now - hold.since > hold.line.agreed.max_msg_timeout / 1000 * LONG_PART and self._still(hold):
                self._exchange(hold)
        due = [hold for hold in self._held.values() if hold.due <= now]
        late = any(now > hold.due + _WORD for hold in due)  # we were not there for a while
        self._say([(hold, protocol.touch(hold.id)) for hold in due], now=late, keep=True)
        # After the last job the turns go on for a while, lest each new one has to wake the keeper.
        idle = now + (_WORD if now < self._last + KEEP else KEEP)
        self._next_turn = min((min(hold.until, hold.due) for hold in self._held.values()), default=idle)
        return max(0.0, self._next_turn - now)

    def lookout(self) -> None:
        """Moves back what those held who died after they had it for long."""
        now = time.monotonic()
        if now < self._next_lookout:
            return
        self._next_lookout = now + LOOKOUT
        for node in self._talk.nodes:
            for tube, topic in orphans(node):
                if tube in self._watch.tubes:
                    with suppress(OSError):  # another was quicker
                        take_back(node, tube, topic)

    def farewell(self) -> None:
        """Gives back everything, and leaves."""
        self._return_strays()
        self.give_back(list(self._held.values()))
        self._watch.leave()

    # --- taking

    def _gather(self, got: list[Hold], tubes: Sequence[str], limit: int, end: float) -> None:
        """Waits for the first, and takes what comes right behind it."""
        self._collect(got, tubes, limit)
        while not got and (left := end - time.monotonic()) > 0.0:
            self._talk.wait(min(left, self.tend(), LOOKOUT))
            self.lookout()
            self._collect(got, tubes, limit)
        before = 0
        while before < len(got) < limit:
            before = len(got)
            time.sleep(BEHIND)  # epoll would take a whole millisecond
            self._talk.wait(0.0)
            self._collect(got, tubes, limit)

    def _gather_ready(self, got: list[Hold], tube: str, limit: int) -> None:
        """Takes what is ready in one tube. nsqd does not say that nothing is there; its counts do."""
        end = time.monotonic() + SOON
        before = -1
        while len(got) < limit and (before != len(got) or self._is_ready(tube)) and time.monotonic() < end:
            before = len(got)
            self._talk.wait(AT_ONCE)
            self._collect(got, [tube], limit)
            if before and before == len(got):
                return

    def _is_ready(self, tube: str) -> bool:
        """Whether a job is ready, or on its way to us, by what nsqd counts."""
        name = topic_of(tube)
        for node, line in self._watch.lines([tube]):
            held = sum(hold.node is node and hold.line.topic == name for hold in self._held.values())
            for topic in node.settled(name, lambda api=node.api: [api.topic(name)]):  # type: ignore[misc]
                sent = sum(each.in_flight_count for each in topic.ours.clients or () if each.client_id == self._talk.me)
                if topic.waiting or topic.between or sent > held + len(line.arrived):
                    return True
        return False

    def _collect(self, got: list[Hold], tubes: Sequence[str], limit: int) -> None:
        for node, line in self._watch.lines(tubes):
            while line.arrived and len(got) < limit:
                hold = self._hold(node, line, line.arrived.popleft())
                left = hold.facts.due - time.time() if hold.facts.due else 0.0
                if left > NOW:  # nsqd does not wait for so long, or forgot that it should
                    self.move(hold, handed=hold.attempts - 1, due=hold.facts.due)
                else:
                    got.append(hold)

    def _hold(self, node: Node, line: Line, came: Arrival) -> Hold:
        body, facts = unwrap(came.message)
        now = time.monotonic()
        tube = tube_of(line.topic)[0]
        attempts = facts.handed + came.attempts
        hold = Hold(self, tube, node, line, came.id, body, facts, attempts, now, now + facts.lease, now + _WORD)
        self._held[line, came.id] = hold
        self._last, self._next_turn = now, min(self._next_turn, hold.due, hold.until)
        return hold

    def _return_strays(self) -> None:
        """Jobs that came and were not taken go back, and nobody has tried them."""
        for node, line in self._watch.lines():
            while line.arrived:
                hold = self._hold(node, line, line.arrived.popleft())
                self.move(hold, handed=hold.attempts - 1)

    def _clear_strays(self, now: float) -> None:
        if self._room or not any(line.arrived for _, line in self._watch.lines()):
            self._stray_since = 0.0
        elif not self._stray_since:
            self._stray_since = now
            self._next_turn = min(self._next_turn, now + STRAY)
            self._talk.turn_by(self._next_turn)
        elif now >= self._stray_since + STRAY:
            self._return_strays()
            self._stray_since = 0.0

    def _allow(self, tubes: Sequence[str]) -> None:
        self._watch.allow(tubes, self._room, Counter(hold.line for hold in self._held.values()))

    # --- holding

    def _say(self, words: Sequence[tuple[Hold, bytes]], *, now: bool = True, keep: bool = False) -> set[Hold]:
        """Sends a command about each; those that were not ours any more, if we wait to hear it."""
        lost: set[Hold] = set()
        for line, group in groupby(sorted(words, key=lambda word: id(word[0].line)), key=lambda word: word[0].line):
            pairs = list(group)
            line.send(b"".join(command for _, command in pairs))
            if now:
                line.settle()
            at = time.monotonic()
            for hold, _ in pairs:
                gone = hold.id in line.lost
                if gone:
                    lost.add(hold)
                hold.due = at + _WORD
                if gone or not keep:
                    self._forget(hold)
        return lost

    def _forget(self, hold: Hold) -> None:
        if self._held.get((hold.line, hold.id)) is hold:
            del self._held[hold.line, hold.id]
        line = hold.line
        if hold.apart:
            self._talk.end(line)
            hold.node.drop(line.topic)
        elif line in self._watch.parting and not any(other.line is line for other in self._held.values()):
            self._watch.idle(line)

    def _still(self, hold: Hold) -> bool:
        """Whether it is ours, by what nsqd says."""
        return not self._say([(hold, protocol.touch(hold.id))], keep=True)

    def _exchange(self, hold: Hold) -> None:
        """The same job as a new message, which counts as the same attempt."""
        facts = Facts(handed=hold.attempts - 1, lease=hold.facts.lease)
        line, id = set_apart(hold.node, hold.tube, hold.body, facts)
        self._talk.listen(line)
        until = hold.until
        self.end([hold])
        hold.line, hold.id, hold.since, hold.until = line, id, time.monotonic(), until
        hold.due = hold.since + _WORD
        self._held[line, id] = hold
