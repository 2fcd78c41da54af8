"""What an executor of others is given to call: one job, in whatever process and thread it chose."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading

from oche.errors import BadMessage, ValueLost
from oche.sharing.memory import Memory
from oche.stores.opening import SECRETS
from oche.wire.job import decode_job
from oche.wire.outcome import Cause, Failure
from oche.worker import frames
from oche.worker.context import Desk, seated
from oche.worker.crew import child_environment
from oche.worker.page import LOADING, Page, new_page
from oche.worker.running import Runner


def run(page: str, worker: str, slots: int, body: bytes, attempt: int) -> tuple[int, bytes]:
    """Runs the job; returns kind and body of the reply, as `frames` has them.

    `page` is the giver's page, by `page_name`, or "" for a giver who has none to share. `worker` is "host:pid/slot".
    Whoever calls this trusts the giver: the executor has brought the job, and checked what it checks.
    """
    machine, _, name = page.rpartition(" ")
    try:
        shared = _reach(name) if name and machine == _machine() else new_page()
    except ValueLost:  # it was given up before its turn came
        return frames.CALLED_OFF, b""
    if threading.current_thread() is not threading.main_thread() and (refusal := _timeless(body, attempt)):
        return frames.REFUSED, refusal
    desk = Desk(shared, worker)
    with seated(desk):
        reply = Runner(desk, frames.Setup(worker=worker, slots=slots), _unknown).run(body, attempt, trusted=True)
    shared.place[0] = LOADING  # the answer has yet to travel: who dies of its size has died at this job
    return reply


def begin(slots: int, store: str, initializer: bytes) -> None:
    """For a process that an engine of ours starts, one of so many: it ends with its parent, and shares the cores."""
    threading.Thread(target=_end_with_parent, name="oche-parent", daemon=True).start()
    os.environ.update(child_environment(slots))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C at the terminal is the parent's to answer
    if store:
        os.environ[SECRETS] = f"{store} {os.environ.get(SECRETS, '')}"
    if initializer:
        function, arguments = pickle.loads(initializer)
        function(*arguments)


def _end_with_parent() -> None:
    """A fork server lives as long as its last child, so the system's own word of a parent's death does not come."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)


def page_name(memory: Memory) -> str:
    """By which a call on this machine finds the giver's page, and one on another knows that it cannot."""
    return f"{_machine()} {memory.name}"


def _machine() -> str:
    """Equal for those who reach each other's memory: one kernel, one view of its processes, one user."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()}/{os.readlink('/proc/self/ns/pid')}/{os.getuid()}"
    except OSError:
        return f"{os.uname().nodename}/{os.getuid()}"


def _reach(name: str) -> Page:
    memory = Memory.attach(name)  # open until it is mapped
    return Page(memory.fd)


def _timeless(body: bytes, attempt: int) -> bytes:
    """Why the job cannot run here if it has a time limit: only the main thread of a process can be interrupted."""
    try:
        job = decode_job(body)
    except BadMessage:
        return b""  # the runner says it better
    if not job.timeout:
        return b""
    message = f"{job.task} has timeout={job.timeout:g}, and this executor runs calls in threads, which cannot be "
    message += "interrupted; leave the time limit out, or take an engine with processes (`oche engines`)"
    return frames.encode_failure(Failure(cause=Cause.REFUSED, message=message, attempts=attempt))


def _unknown() -> int:
    """Peak memory: a process that is not ours may have had its peak long ago."""
    return 0
