"""The nsqds that one queue talks to, for one thread at a time; between two verbs a thread of its own keeps them ours.

Jobs are taken from all nsqds that answer, and put to one of them. When one goes, the connection is broken as it is
with any other broker, and the next one is made to those that are left. One that comes back, or is new, is taken in.
"""

from __future__ import annotations

import math
import os
import random
import selectors
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

from oche.errors import Closed, Disconnected, OcheError, QueueError
from oche.queues.nsq.nodes import Directory, Node
from oche.queues.nsq.wire import CONNECT, Line

#: Seconds between two turns of the keeper, if nothing is held; nsqd's heartbeats must be answered.
KEEP = 10.0
#: Seconds for an nsqd that was away to answer.
PATIENCE = 1.0
#: Seconds that `close` waits for a verb of another thread.
FAREWELL = 1.0


class Talk:
    """All lines of one queue."""

    def __init__(self, url: str) -> None:
        self.me = f"oche.{os.getpid()}.{uuid4().hex[:12]}"
        self.tend: Callable[[], float] = lambda: KEEP  #: done before each verb, and at each turn; seconds to the next
        self.farewell: Callable[[], None] = lambda: None  #: done before the end, if there is still somebody to talk to
        self._directory = Directory(url)
        self._lock = threading.RLock()
        self._closed = self._broken = False
        self._pid = os.getpid()
        self._selector = selectors.DefaultSelector()
        self._bell, self._ring = socket.socketpair()
        self._ring.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ, None)
        self.nodes: list[Node] = []
        self.found: deque[Node] = deque()  #: answered since we began, and are to be taken in
        try:
            self._open()
        except BaseException:
            self._drop()
            raise
        self.life = ",".join(sorted(node.life for node in self.nodes))
        self._looked, self._wakes = time.monotonic(), math.inf
        self._turn = threading.Event()
        threading.Thread(target=_keep, args=(weakref.ref(self), self._turn), name="oche-nsq", daemon=True).start()

    def _open(self) -> None:
        trouble: Exception | None = None
        self._absent = False  #: there is an nsqd that did not answer at the last look
        try:
            for address in self._directory.addresses():
                try:
                    self.take_in(Node(address, self.me, CONNECT))
                except OSError as error:
                    trouble, self._absent = error, True
        except OSError as error:
            raise Disconnected(f"{error}; start it or mend the URL") from error
        if not self.nodes:
            raise Disconnected(f"no nsqd answers ({self._directory.where}: {trouble}); start one or mend the URL")
        self.home = self.nodes[random.Random().randrange(len(self.nodes))]  #: where jobs are put

    # --- for a while

    @contextmanager
    def talk(self) -> Iterator[None]:
        """Within, the lines are this thread's. What goes wrong is raised as an error of ours."""
        with self._lock:
            self.check_open()
            try:
                self.wait(0.0)
                self.tend()
                yield
            except OcheError:
                raise
            except BaseException as error:
                self._fail(error)
                raise

    def _fail(self, error: BaseException) -> None:
        self._broken = True
        self._drop()
        if self._closed:
            raise Closed("the queue was closed while it waited for nsqd") from error
        if isinstance(error, Exception):
            raise Disconnected(f"a connection to {self._directory.where} broke: {error!r}; open a new one") from error

    def check_open(self) -> None:
        """Raises what the next verb would."""
        if self._pid != os.getpid():
            raise QueueError("the queue was opened before this process was forked; clone() it here")
        if self._closed:
            raise Closed("this queue was closed; clone() or open another one")
        if self._broken:
            raise Disconnected(f"the connection to {self._directory.where} is broken; open a new one")

    def wait(self, seconds: float) -> None:
        """Until something has come, or `close` is called; takes it in."""
        for key, _ in self._selector.select(max(seconds, 0.0)):
            if isinstance(key.data, Line):
                key.data.receive()
            else:
                with suppress(BlockingIOError):
                    self._bell.recv(64, socket.MSG_DONTWAIT)
        self.check_open()

    # --- lines

    def take_in(self, node: Node) -> None:
        """The nsqd is one of ours from now on."""
        self.nodes.append(node)
        self.listen(node.post)

    def listen(self, line: Line) -> None:
        """What comes over it wakes who waits."""
        self._selector.register(line.socket, selectors.EVENT_READ, line)

    def end(self, line: Line) -> None:
        """Closes a line."""
        with suppress(KeyError, ValueError):
            self._selector.unregister(line.socket)
        line.close()

    # --- the keeper

    def turn_by(self, when: float) -> None:
        """The keeper must not sleep beyond this time (monotonic)."""
        if when < self._wakes:
            self._wakes = when
            self._turn.set()

    def keep(self) -> float:
        """The keeper's turn; seconds until the next, or -1 when there will be none."""
        self._wakes = math.inf  # who wants a turn meanwhile rings for one
        pause = self._keep()
        self._wakes = time.monotonic() + pause
        return pause

    def _keep(self) -> float:
        self._look()
        if not self._lock.acquire(blocking=False):  # a verb is under way, and tends
            return self._directory.pace
        try:
            if self._closed:  # by who did not get in
                self._drop()
            with self.talk():
                return min(self.tend(), self._directory.pace if self._absent else KEEP)
        except OcheError:
            return -1.0 if self._closed or self._broken else self._directory.pace
        finally:
            self._lock.release()

    def _look(self) -> None:
        """Without the lock, for it may take a while: are there nsqds that we have not?"""
        if self._closed or self._broken or time.monotonic() < self._looked + self._directory.pace:
            return
        self._looked = time.monotonic()
        with suppress(OSError):
            known = {node.address for node in (*self.nodes, *self.found)}
            missing = [address for address in self._directory.addresses() if address not in known]
            self._absent = bool(missing)
            for address in missing:
                with suppress(OSError, OcheError):
                    self.found.append(Node(address, self.me, PATIENCE))
                    self._wake()

    def _wake(self) -> None:
        with suppress(OSError):
            self._ring.send(b".")

    # --- the end

    def close(self) -> None:
        """Ends it, from any thread."""
        if self._closed:
            return
        if self._pid != os.getpid():  # a parent's, from before a fork, and still in use there
            self._closed = True
            return
        if self._lock.acquire(blocking=False):
            self._part()
            return
        self._closed = True
        self._wake()
        self._turn.set()
        if self._lock.acquire(timeout=FAREWELL):  # else another thread is in a verb, and the keeper ends it later
            self._part()

    def _part(self) -> None:
        """Within the lock, which it gives back."""
        try:
            with suppress(Exception):
                if not self._broken:
                    self.farewell()
        finally:
            self._closed = True
            self._drop()
            self._lock.release()
            self._turn.set()

    def _drop(self) -> None:
        for node in (*self.nodes, *self.found):
            node.close()
        with suppress(OSError, RuntimeError, AttributeError):  # done before
            for key in list(self._selector.get_map().values()):
                if isinstance(key.data, Line):
                    key.data.close()
        with suppress(OSError):
            self._selector.close()
            self._bell.close()
            self._ring.close()


def _keep(talk: weakref.ref[Talk], turn: threading.Event) -> None:
    pause = KEEP
    while True:
        turn.wait(pause)
        turn.clear()
        kept = talk()
        if kept is None or (pause := kept.keep()) < 0.0:
            return
        del kept
