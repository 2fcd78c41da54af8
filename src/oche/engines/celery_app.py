"""What Celery's workers load: a task that runs oche's jobs, and a command by which workers tell what they have.

    OCHE_URL=celery+redis://host:6379/0 celery -A oche.engines.celery_app worker -c 4     # workers of an app of ours
    app = Celery(..., include=["oche.engines.celery_app"])                                # yours get both so

The task takes one text: a line of JSON that says whose call it is, the job, another line of JSON, and the signature.
What it answers looks alike, and goes to the queue that the message names. Nothing is run that is not signed.
"""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Iterable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from celery import Celery, shared_task
from celery.app.utils import find_app
from celery.signals import celeryd_init
from celery.worker import state as having
from celery.worker.control import inspect_command
from kombu.entity import Queue

from oche.engines import remote
from oche.errors import BadMessage, BadSignature, ConfigError, OcheError
from oche.plugins import without_password
from oche.queues.opening import local_host
from oche.sharing.memory import Memory
from oche.wire.outcome import Cause, Failure
from oche.wire.signing import Signer, load_key
from oche.worker import frames
from oche.worker.cores import usable_cores
from oche.worker.crew import child_environment

log = logging.getLogger("oche")

#: The task, and the command.
TASK, COMMAND = "oche.run", "oche"
#: In the place of a frame's kind: the message was handed out before, and whoever had it may be dead.
AGAIN = 0
#: Seconds that a queue of answers lasts which nobody takes from: its client was killed.
KEEP = 600.0
#: Seconds after which a call that somebody asks for is acknowledged before it is done. A message that is not is handed
#: out again by Redis after an hour, and by RabbitMQ after half an hour, which also ends the worker that has it.
LONG = 600.0
#: A broker that is away is given a minute to take an answer. Then the call is lost, and done again.
_PATIENCE = {"max_retries": 60, "interval_start": 0.1, "interval_step": 0.1, "interval_max": 1.0}
#: Schemes that name an app of ours, by its broker.
_OURS = ("celery+redis", "celery+rediss", "celery+amqp", "celery+amqps")


class Call(msgspec.Struct, frozen=True, tag="call"):
    """What stands before a job: what `remote.run` is to be given, and the id that the answer must bear."""

    id: str
    page: str
    worker: str
    slots: int
    attempt: int


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """What stands before what came of it: of which call, and a frame's kind."""

    id: str
    kind: int


class Told(msgspec.Struct, frozen=True, tag="told"):
    """What a worker says when it is asked; nothing follows."""

    ask: int  #: which time it was asked
    node: str  #: its name
    has: list[str]  #: ids of calls, of those asked for, that it runs or will run
    died: list[str]  #: and of those whose child is dead
    pool: str
    slots: int
    near: bool  #: whether it shares memory with who asks


Head = TypeVar("Head")


def seal(signer: Signer, head: Call | Answer | Told, body: bytes = b"") -> str:
    """As it travels."""
    return signer.seal(b"%b\n%b" % (msgspec.json.encode(head), body)).decode()


def unseal(signer: Signer, text: str, kind: type[Head]) -> tuple[Head, bytes]:
    """The other way. Raises `BadSignature`, and `BadMessage` for what is signed but of another kind."""
    data, signed = signer.open(text.encode())
    if not signed:
        raise BadSignature("a message without a signature; give its sender the key (`oche key`, OCHE_KEY)")
    head, _, body = data.partition(b"\n")
    try:
        return msgspec.json.decode(head, type=kind), body
    except msgspec.DecodeError as error:
        raise BadMessage(f"not a message of oche's: {error}; it begins with {head[:60]!r}") from error


def app_of(url: str) -> Celery:
    """The app that the URL names; one of ours has all its settings here. Raises `ConfigError` if it names none."""
    kind, _, rest = url.partition("://")
    if kind in _OURS and urlsplit(url).hostname:
        app = Celery("oche", broker=url.removeprefix("celery+"), set_as_current=False)
        app.conf.update(
            accept_content=["json"],
            broker_connection_retry_on_startup=True,
            control_exchange="oche",
            task_default_queue="oche",
            worker_prefetch_multiplier=1,
        )
        return app
    forms = "take celery+redis://host:6379/0, celery+amqp://user:password@host, or celery://package.module:app"
    if kind != "celery" or not rest:
        raise ConfigError(f"{without_password(url)!r} names no broker and no Celery app; {forms}")
    try:
        app = find_app(rest)
    except Exception as error:  # whatever there is in their module
        raise ConfigError(f"the Celery app of {url!r} cannot be loaded: {error!r}; {forms}") from error
    if not isinstance(app, Celery):
        raise ConfigError(f"{url!r} leads to {app!r}, which is no Celery app; {forms}")
    return app


def signer_of(app: Celery) -> Signer:
    """With the key of the farm; a new one where there is none and the broker is on this machine."""
    return Signer(load_key(local=local_host(app.connection_for_write().as_uri())))


_signer = functools.cache(signer_of)


def _run(task: Any, sealed: object) -> None:
    request, signer = task.request, Signer(None)
    id = request.id
    try:
        signer = _signer(task.app)
        call, job = unseal(signer, str(sealed), Call)
        id = call.id
        kind, reply = AGAIN, b""
        if not request.delivery_info["redelivered"]:
            kind, reply = remote.run(call.page, call.worker, call.slots, job, call.attempt)
    except OcheError as error:
        log.warning("a call was refused: %s", error)
        kind, reply = frames.REFUSED, frames.encode_failure(Failure(cause=Cause.REFUSED, message=str(error)))
    _post(task.app, request.reply_to, id, seal(signer, Answer(id, kind), reply), retry=True, retry_policy=_PATIENCE)


_since: dict[str, float] = {}  # when we were asked for a call of ours for the first time


def _tell(
    state: Any, reply: str, ask: int, ids: Iterable[str] = (), dropped: Iterable[str] = (), page: str = ""
) -> None:
    having.revoked.update(dropped)
    here = [one for one in {*having.active_requests, *having.reserved_requests} if one.type == TASK]
    found = [one for one in here if one.id in set(ids)]
    now, pool = time.monotonic(), state.consumer.pool.info
    for id in _since.keys() - {one.id for one in here}:
        del _since[id]
    for one in found:
        if now - _since.setdefault(one.id, now) > LONG:
            one.acknowledge()  # who asks finds out if we die
    told = Told(
        ask=ask,
        node=state.hostname,
        has=[one.id for one in found if not one.delivery_info["redelivered"]],  # what came back is not run
        died=[one.id for one in found if _died(one.worker_pid)],
        pool=pool["implementation"].rpartition(":")[0].rpartition(".")[2],
        slots=pool["max-concurrency"],
        near=_reaches(page),
    )
    # Its connection may be closed: by a child that was forked meanwhile, and put an end to what it found open.
    _post(state.app, reply, "", seal(_signer(state.app), told), retry=True, retry_policy={"max_retries": 1})


def _post(app: Celery, to: str, id: str, text: str, **how: Any) -> None:
    with app.producer_or_acquire() as producer:
        # A queue of RabbitMQ's ends by itself; of Redis', only if whoever puts into it knows when.
        redis = producer.connection.transport.driver_type == "redis"
        producer.publish(
            text, exchange="", routing_key=to, correlation_id=id, content_type="text/plain", content_encoding="utf-8",
            delivery_mode="transient", declare=[answers(to)] if redis else [], **how,
        )  # fmt: skip


def answers(name: str) -> Queue:
    """The queue of one client's answers."""
    return Queue(name, durable=True, expires=KEEP)


def _died(pid: int | None) -> bool:
    """Whether this child of ours is no more; Celery itself finds out some seconds later."""
    if pid is None or pid == os.getpid():  # not begun, or in a thread
        return False
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _reaches(page: str) -> bool:
    try:
        Memory.attach(page).close()
    except OcheError:
        return False
    return True


# Not as decorators: the library tells no types.
run = shared_task(bind=True, name=TASK, acks_late=True, reject_on_worker_lost=True, ignore_result=True)(_run)
tell = inspect_command(name=COMMAND)(_tell)


def _share_cores(*, conf: Any, options: dict[str, Any], **_: Any) -> None:
    """The start of a worker: its children get their shares of the cores, for threads of theirs."""
    children = options.get("concurrency") or conf.worker_concurrency or usable_cores()
    os.environ.update(child_environment(int(children)))


@functools.cache
def _app() -> Celery:
    if url := os.environ.get("OCHE_URL"):
        celeryd_init.connect(_share_cores)
        return app_of(url)
    raise ConfigError("OCHE_URL is not set; say where the broker is, as in OCHE_URL=celery+redis://host:6379/0")


def __getattr__(name: str) -> Any:
    """`app`, of ours, for `celery -A`; only then must OCHE_URL say where its broker is."""
    if name == "app":
        return _app()
    raise AttributeError(name)
