"""The calls that Celery has of us: put as messages, ended by answers, and looked for when one is late.

Two threads beside those that put: one takes answers, the other asks for what is late, and puts what could not be put
while the broker was away.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import ExitStack, closing, suppress
from itertools import count
from typing import Any
from uuid import uuid4

from celery import Celery
from kombu.connection import Connection
from kombu.messaging import Producer

from oche.engines.celery_app import AGAIN, COMMAND, TASK, Answer, Call, Told, answers, seal, unseal
from oche.engines.celery_watch import PACE, Out, Rule, Voice, connect, connected, errors_of, waiting
from oche.errors import Unsupported, WireError
from oche.sharing.memory import Memory
from oche.wire.outcome import Cause, Failure
from oche.wire.signing import Signer
from oche.worker import frames

log = logging.getLogger("oche")

#: Seconds that the first worker may take to answer when we meet them, and each after another.
FIRST, NEXT = 2.0, 0.15
#: Seconds that a call is out before we ask for it, and that the workers have to answer.
LATE, HEARING = 1.0, 1.0
#: Seconds between two tries to reach a broker that is away, and between two times that we say so.
REST, SAID = 0.5, 60.0

_HEADS: Any = Answer | Told


class Calls(Executor):
    """Takes `remote.run` and nothing else. Thread-safe."""

    def __init__(self, app: Celery, signer: Signer, where: str) -> None:
        self._app, self._signer, self._where = app, signer, where
        self._errors = errors_of(app)
        self._answers = answers(f"oche.reply.{uuid4().hex}")
        self._lock = threading.Lock()  # guards these three
        self._out: dict[str, Out] = {}
        self._dropped: list[str] = []
        self._shut = False
        self._posting = threading.Lock()  # guards these two
        self._producer: Producer | None = None  #: None while the broker is away
        self._numbers = count(1)
        self._rule, self._voice = Rule(), Voice(app)
        self._asked = 0  #: how often
        self._told: dict[str, Told] = {}  #: by whom, since then
        self._news = threading.Event()  #: somebody told
        self._lonely = False  #: nobody does, and that was said
        self.distrusted = ""  #: why, if somebody answered who does not have our key
        self._turn = threading.Event()  #: the watch has something to do now
        self._ended = threading.Event()  #: shut, and nothing is out
        self._open()
        self._said = -math.inf  #: when we last said that the broker is away
        self._threads = [
            threading.Thread(target=self._serve, args=(work,), name=f"oche-celery{work.__name__}", daemon=True)
            for work in (self._listen, self._watch)
        ]
        for thread in self._threads:
            thread.start()

    # --- an executor

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        page, worker, slots, body, attempt = args
        id = str(uuid4())
        call = Out(seal(self._signer, Call(id, page, worker, slots, attempt), body))
        with self._lock:
            if self._shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._out[id] = call
        call.future.add_done_callback(lambda future: self._is_done(id, future))
        self._put(id, call)
        return call.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._lock:
            self._shut = True
            out = list(self._out.values())
        for call in out if cancel_futures else ():
            call.future.cancel()
        self._end_if_over()
        if wait:
            for thread in self._threads:
                thread.join()
            with self._posting:
                self._hang_up()

    def _is_done(self, id: str, future: Future[Any]) -> None:
        with self._lock:
            del self._out[id]
            if future.cancelled():
                self._dropped.append(id)
                self._turn.set()
        self._end_if_over()

    def _end_if_over(self) -> None:
        with self._lock:
            if self._out or not self._shut or self._ended.is_set():
                return
            self._ended.set()
            self._turn.set()
        with self._posting, suppress(*self._errors):  # wakes the one who listens
            if self._producer is not None:
                self._producer.publish("", exchange="", routing_key=self._answers.name, content_type="text/plain")

    def _serve(self, work: Callable[[Connection], None]) -> None:
        """Does it over a connection of its own, and over another where that breaks, until all is over."""
        while not self._ended.is_set():
            try:
                with connected(self._app) as connection:
                    work(connection)
            except self._errors as error:
                if time.monotonic() - self._said > SAID:
                    self._said = time.monotonic()
                    log.warning("%s lost its broker (%s); trying again until it is back", self._where, error)
            except Exception:
                log.exception("a thread for %s failed, and begins again", self._where)
            self._ended.wait(REST)

    # --- what goes out

    def _open(self) -> None:
        connection = connect(self._app)
        try:
            self._answers(connection.default_channel).declare()
            self._producer = Producer(connection, auto_declare=False)
        except BaseException:
            connection.release()
            raise

    def _hang_up(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(*self._errors):
                producer.connection.release()

    def _put(self, id: str, call: Out) -> None:
        with self._posting, suppress(*self._errors):  # the watch tries again
            if self._producer is None:
                return
            call.number, call.since = next(self._numbers), time.monotonic()
            try:
                self._app.send_task(
                    TASK, (call.text,), task_id=id, producer=self._producer, reply_to=self._answers.name,
                    ignore_result=True, serializer="json", retry=False, argsrepr="(a job of oche's)",
                )  # fmt: skip
            except BaseException:
                call.number = 0
                self._hang_up()
                raise

    # --- what comes back

    def _listen(self, connection: Connection) -> None:
        with connection.Consumer([self._answers], on_message=self._on_message, no_ack=True):
            while not self._ended.is_set():
                with suppress(TimeoutError):
                    connection.drain_events(timeout=PACE)
        self._answers(connection.default_channel).delete()

    def _on_message(self, message: Any) -> None:
        body = message.body
        if not body:
            return
        try:
            head, reply = unseal(self._signer, body if isinstance(body, str) else str(body, "utf-8"), _HEADS)
        except (WireError, UnicodeDecodeError) as error:
            self.distrusted = str(error)
            self._news.set()
            failure = Failure(cause=Cause.REFUSED, message=f"an answer of {self._where}: {error}")
            head = Answer(message.properties.get("correlation_id") or "", frames.REFUSED)
            reply = frames.encode_failure(failure)
        if isinstance(head, Told):
            self._rule.hear(head.node)
            if head.ask == self._asked:
                self._told[head.node] = head
            self._news.set()
            return
        with self._lock:
            call = self._out.get(head.id)
        if call is None:
            return
        self._rule.begun = max(self._rule.begun, call.number)
        if head.kind == AGAIN:
            call.doubt = True
            self._turn.set()
        elif call.future.set_running_or_notify_cancel():
            call.future.set_result((head.kind, reply))

    # --- what does not

    def meet(self) -> tuple[dict[str, Told], list[str]]:
        """The workers, with what they say of themselves; and if none does, those that are there all the same."""
        strangers: list[str] = []
        with ExitStack() as stack:
            page = ""
            with suppress(Unsupported):
                page = stack.enter_context(closing(Memory.create(1))).name
            connection = stack.enter_context(connected(self._app))
            self._ask(connection, page=page)
            wait = FIRST
            while self._news.wait(wait):
                self._news.clear()
                wait = NEXT
            if not self._told:
                pongs = self._voice.ping(timeout=HEARING, connection=connection)
                strangers = sorted({name for pong in pongs for name in pong} - self._told.keys())
        return dict(self._told), strangers

    def _ask(self, connection: Connection, **what: Any) -> None:
        self._asked += 1
        self._told.clear()
        self._news.clear()
        arguments = {"reply": self._answers.name, "ask": self._asked, **what}
        self._voice.broadcast(COMMAND, arguments, connection=connection)

    def _watch(self, connection: Connection) -> None:
        while not self._ended.is_set():
            self._turn.wait(PACE)
            self._turn.clear()
            self._look(connection)

    def _look(self, connection: Connection) -> None:
        with self._posting:
            if self._producer is None:
                self._open()
        with self._lock:
            out, dropped = dict(self._out), self._dropped
            self._dropped = []
        for id, call in out.items():
            if not call.number and not call.future.done():
                self._put(id, call)
        now = time.monotonic()
        late = {id: call for id, call in out.items() if call.number and (call.doubt or now - call.since > LATE)}
        if late or dropped:
            self._ask(connection, ids=list(late), dropped=dropped)
        if not late:
            return
        until = now + HEARING
        while (left := until - time.monotonic()) > 0 and not set(self._rule.silent) <= self._told.keys():
            self._news.wait(left)
            self._news.clear()
        for id in self._rule.lost(late, dict(self._told), waiting(self._app, connection), time.monotonic()):
            if late[id].future.set_running_or_notify_cancel():
                late[id].future.set_exception(BrokenExecutor(f"the worker of {self._where} that had call {id} is gone"))
        if not self._rule.silent and not self._lonely:
            log.warning("no worker answers at %s; calls wait until there is one", self._where)
        self._lonely = not self._rule.silent
