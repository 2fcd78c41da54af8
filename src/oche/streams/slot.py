"""A slot of a stage: one thread, one child, one connection; it receives messages, has them handled, and publishes.

    receive -> the child calls the stage, leases renewed -> results published -> messages acknowledged

The results of a message, or what says that it failed, are always published before it is acknowledged: a crash
between the two makes duplicates with the same ids, never a loss. A connection that breaks voids what is held; what
was received is handled all the same, since not every broker remembers what it had handed out.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from oche.errors import Closed, Disconnected, OcheError, QueueError, QueueFull, TooLarge
from oche.streams.handing import Asked, Handed, ask, dead_letter
from oche.streams.ids import Lately, derived_id
from oche.streams.reopening import reopen
from oche.streams.seam import DEAD, Message, Parcel, Topics
from oche.streams.stage import Stage
from oche.worker import frames
from oche.worker.crew import Child
from oche.worker.pace import Pace
from oche.worker.trial import TICK, How, attend

log = logging.getLogger("oche")

#: Seconds that an idle slot waits in one receive, and between two looks at how deep the topics behind it are.
IDLE, LOOK = 5.0, 0.5
#: Messages received at a time at most, and seconds that they may take together.
MOST, TOGETHER = 64, 0.02
#: Seconds before a message on which the stage failed is tried again; doubled each time, up to the second.
PAUSE, LONGEST = 0.2, 300.0
#: Seconds for a child to load the stages, and deaths of children in a row that are no accident.
START_LIMIT, DEATHS = 600.0, 5


class Unfit(OcheError):
    """The children cannot load the stages; the message says why."""


class Slot:
    """Runs in its own thread from `run` to the end; only `leave` comes from another."""

    def __init__(
        self, stage: Stage, target: str, topics: Topics, *, prefix: str, setup: frames.Setup,
        environment: Mapping[str, str], lately: Lately, on_turn: Callable[[bool], None], patience: float = IDLE,
    ) -> None:  # fmt: skip
        self.running = False  #: a message is being handled
        self._stage = stage
        self._input = f"{prefix}{stage.topic}"
        self._outputs = tuple(f"{prefix}{topic}" for topic in stage.to)
        self._prefix = prefix
        self._asked = Asked(target, stage)
        self._topics = topics
        self._setup = setup
        self._environment = environment
        self._lately = lately
        self._on_turn = on_turn  # told whether anything was received
        self._patience = patience  # seconds in one receive
        self._pace = Pace(MOST, TOGETHER)
        self._child: Child | None = None
        self._behind: deque[Message] = deque()  # received; the first of them runs
        self._done: list[tuple[Message, list[tuple[str, Parcel]]]] = []  # with what is to be published for each
        self._touched = self._looked = 0.0
        self._full = False
        self._closing = threading.Event()  # end now
        self._leaving = False
        self._lock = threading.Lock()  # guards the two below it, and the closing of the connection by `leave`
        self._receiving = False

    def leave(self, *, now: bool) -> None:
        """Takes no more messages; `now` ends the running one too, and it is to be had again. From any thread."""
        with self._lock:
            self._leaving = True
            if now or self._receiving:
                self._closing.set()
            if self._receiving:
                self._topics.close()

    def close(self) -> None:
        """Ends the connection of a slot that never ran."""
        self._topics.close()

    def run(self) -> None:
        """Serves until it is told to leave. Raises `Unfit` if no child can start."""
        try:
            self._subscribe()
            while not self._leaving:
                self._turn()
        except Closed:
            pass
        finally:
            if self._child is not None:
                self._child.kill() if self._closing.is_set() else self._child.close()
            self._topics.close()

    # --- receiving

    def _turn(self) -> None:
        self._ready_child()
        try:
            if self._is_full():
                self._on_turn(False)
                self._closing.wait(LOOK)
                return
            messages = self._receive()
            self._on_turn(bool(messages))
            if messages:
                self._see_through(messages)
                self._on_turn(True)
        except Disconnected as error:
            self._reopen(error)
        except Closed:
            raise
        except QueueError as error:  # a full disk, a lock that somebody holds: it may pass
            log.warning("%s of %s: %s; trying again", self._setup.worker, self._stage.name, error)
            self._closing.wait(LOOK)

    def _receive(self) -> list[Message]:
        with self._lock:
            if self._leaving:
                raise Closed("the slot ends")
            self._receiving = True
        try:
            return self._topics.receive(self._pace.appetite, self._patience)
        finally:
            with self._lock:
                self._receiving = False

    def _is_full(self) -> bool:
        """Whether a topic that results go to is over the bound; it is asked now and then."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return self._full
        was, self._looked, self._full = self._full, now, False
        for topic in self._outputs:
            depth = self._topics.depth(topic)
            if depth > self._stage.bound:
                self._full = True
                if not was:
                    log.warning("%s waits: %s holds %d messages that nobody takes", self._stage.name, topic, depth)
        return self._full

    def _subscribe(self) -> None:
        try:
            self._topics.subscribe(self._input, self._stage.channel)
        except Disconnected as error:
            self._reopen(error)

    def _reopen(self, error: Disconnected) -> None:
        self._topics = reopen(self._topics, (self._input, self._stage.channel), error, closing=self._closing)

    # --- handling

    def _see_through(self, messages: list[Message]) -> None:
        self._behind.extend(messages)
        self._touched = time.monotonic()
        try:
            while self._behind and not self._closing.is_set():
                began = time.monotonic()
                self._handle(self._behind[0])
                self._behind.popleft()
                self._pace.record(time.monotonic() - began)
            self._flush()
        finally:
            left, self._done = [*self._behind, *(message for message, _ in self._done)], []
            self._behind.clear()
            if left:
                self._topics.release(left)

    def _handle(self, message: Message) -> None:
        """Has it handled, and notes what is to be published; nothing is, if it is to be tried again."""
        if message.id in self._lately:
            self._done.append((message, []))
            return
        limit = self._stage.retries + 1
        if message.attempts > limit:
            told = Handed(reason=f"it lost its worker {message.attempts - 1} times: killed, or cut off, each time")
        else:
            told = self._ask(message)
        if told.results is not None:
            self._done.append((message, [self._parcel(message, n, *pair) for n, pair in enumerate(told.results)]))
        elif told.again:
            self._topics.release([message])
        elif message.attempts < limit:
            log.warning("%s failed on %s, attempt %d: %s", self._stage.name, message.id, message.attempts, told.reason)
            self._topics.retry(message, min(PAUSE * 2.0 ** (message.attempts - 1), LONGEST))
        else:
            log.error("%s gives %s up: %s", self._stage.name, message.id, told.reason)
            self._done.append((message, [self._dead(message, told.reason)]))

    def _ask(self, message: Message) -> Handed:
        deaths = 0
        while True:
            child = self._ready_child()
            body = self._asked.job(message)
            if body is None:
                return Handed(reason="it is not UTF-8, so it is not JSON")
            child.give(body, message.attempts, trusted=True)
            self.running = True
            try:
                verdict = attend(
                    child, self._renew, timeout=self._stage.timeout, memory_limit=None, called_off=lambda: None,
                    closing=self._closing,
                )  # fmt: skip
            finally:
                self.running = False
            for stream, text in child.output():
                (sys.stdout if stream == "stdout" else sys.stderr).write(text)
            deaths += 1
            if verdict.how is not How.NOT_BEGUN or deaths == DEATHS:
                return ask(verdict, self._stage)

    def _renew(self, now: float) -> None:
        """Called now and then while a message is handled, after 0.1 s for the first time: it is not a short one."""
        try:
            if len(self._behind) > 1 and not self._topics.release_counts:
                others = [self._behind.pop() for _ in range(len(self._behind) - 1)]
                self._topics.release(others)
            if self._done:
                self._flush()
            if now - self._touched > self._topics.lease / 3.0:
                self._touched = now
                self._topics.touch(self._behind)
        except Disconnected as error:
            self._reopen(error)
        except QueueError as error:
            log.warning("%s cannot renew its leases: %s", self._setup.worker, error)

    # --- publishing

    def _parcel(self, message: Message, place: int, topic: str, text: str) -> tuple[str, Parcel]:
        id = derived_id(message.id, self._stage.name, place, topic)
        return f"{self._prefix}{topic}", Parcel(id, text.encode())

    def _dead(self, message: Message, reason: str) -> tuple[str, Parcel]:
        body = dead_letter(self._stage, message, reason)
        return f"{self._input}{DEAD}", Parcel(derived_id(message.id, self._stage.name, DEAD), body)

    def _flush(self) -> None:
        """Publishes what was made, then acknowledges what it was made from."""
        done = self._done
        if not done:
            return
        try:
            self._publish([pair for _, parcels in done for pair in parcels])
        except TooLarge:
            for message, parcels in done:
                try:
                    self._publish(parcels)
                except TooLarge as error:
                    log.error("%s gives %s up: %s", self._stage.name, message.id, error)
                    self._publish([self._dead(message, str(error))])
        messages = [message for message, _ in done]
        for message in messages:
            self._lately.add(message.id)
        self._done = []
        self._topics.ack(messages)

    def _publish(self, pairs: list[tuple[str, Parcel]]) -> None:
        """For as long as it takes: through a lost connection and a full broker. Raises `Closed`, `TooLarge`."""
        topics = dict.fromkeys(topic for topic, _ in pairs)
        while True:
            try:
                for topic in topics:
                    self._topics.publish(topic, [parcel for name, parcel in pairs if name == topic])
                return
            except Disconnected as error:
                self._reopen(error)
            except QueueFull as error:
                log.warning("%s cannot publish (%s); trying again", self._stage.name, error)
                if self._closing.wait(LOOK):
                    raise Closed("the slot ends") from error
                self._topics.touch([*self._behind, *(message for message, _ in self._done)])

    # --- the child

    def _ready_child(self) -> Child:
        """The child, once it has loaded the stages; a dead one is replaced. Raises `Unfit`, `Closed`."""
        until = time.monotonic() + START_LIMIT
        deaths = 0
        while True:
            child = self._child
            if child is None or child.end is not None:
                if child is not None and not child.ready:
                    deaths += 1
                if child is not None and deaths == DEATHS:
                    assert child.end is not None
                    raise Unfit(f"a child ended by {child.end.signal} at each start: {child.stderr.last_lines(10)}")
                child = self._child = Child(self._setup, environment=self._environment)
            if child.ready:
                return child
            if child.reply is not None and child.reply.kind == frames.UNFIT:
                failure = frames.decode_failure(child.reply.body)
                raise Unfit(f"the stages cannot be loaded: {failure.exception} {failure.message}\n{failure.traceback}")
            if self._closing.is_set():
                raise Closed("the slot ends")
            if time.monotonic() > until:
                raise Unfit(f"the stages were not loaded after {START_LIMIT:g} s")
            child.wait(TICK)
            if self._behind:
                self._renew(time.monotonic())
