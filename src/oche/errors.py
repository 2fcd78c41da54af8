"""Every error that oche raises, in one tree.

    OcheError
    ├── ConfigError (ValueError)        a URL, an option or an argument that cannot be right
    │   ├── Unsupported                 this engine cannot do what was asked for
    │   └── KeyMissing                  messages must be signed, and there is no key to sign them with
    ├── QueueError                      the broker said no
    │   ├── Disconnected (ConnectionError)  the connection broke; open a new one and go on
    │   ├── Closed                      this end was closed, by us
    │   ├── LeaseLost                   the job is no longer ours: its lease ran out, or it is gone
    │   ├── TooLarge                    a body over the broker's size limit
    │   └── QueueFull                   no room, draining, disk full: nothing was stored
    ├── StoreError                      the store said no
    │   ├── ValueLost                   a value that a reference names is gone, or out of reach from here
    │   └── StoreFull                   no room for the value: nothing was stored
    ├── WireError                       what arrived cannot be used
    │   ├── BadMessage                  not a message of ours
    │   └── BadSignature                unsigned, or signed with another key
    ├── Unsendable (TypeError)          a value that cannot travel; raised at submit
    ├── JobError                        the call failed without an exception of its own
    │   ├── TaskError                   the task raised what cannot be rebuilt here; carries its name and text
    │   ├── TaskNotFound                the worker cannot import the task
    │   ├── WrongCode                   the worker has other code than the caller
    │   ├── Refused                     the worker may not run this
    │   ├── Crashed                     the process that ran it died, or was lost, on every attempt
    │   ├── TimedOut (TimeoutError)     over its time limit
    │   └── ResultUnsendable            the task returned what cannot travel
    ├── LockHeld (TimeoutError)         a lock was not free in time; says who holds it
    ├── Broken (BrokenExecutor)         the cluster cannot go on: its initializer failed
    └── JournalError                    the journal of a named run cannot be read or written

Messages say what went wrong, with which value, and what to do next.
"""

from __future__ import annotations

from concurrent.futures import BrokenExecutor


class OcheError(Exception):
    """The root: everything oche raises by itself."""


class ConfigError(OcheError, ValueError):
    """A URL, an option or an argument that cannot be right."""


class Unsupported(ConfigError):
    """This engine cannot do what was asked for."""


class KeyMissing(ConfigError):
    """Messages to another host must be signed, and no key was found."""


class QueueError(OcheError):
    """The broker refused or failed."""


class Disconnected(QueueError, ConnectionError):
    """The connection to the broker broke. Deliveries made over it are void."""


class Closed(QueueError):
    """The queue was closed on this side while, or before, it was used."""


class LeaseLost(QueueError):
    """The job is no longer held: its lease ran out, or somebody deleted it."""


class TooLarge(QueueError):
    """A body over the broker's size limit; names the size, the limit and the way out."""


class QueueFull(QueueError):
    """The broker has no room (disk, memory) or is draining; the body was not stored."""


class StoreError(OcheError):
    """The store refused or failed."""


class ValueLost(StoreError):
    """The value is gone (deleted, dropped, its owner ended) or cannot be reached from this machine."""


class StoreFull(StoreError):
    """The store has no room for a value; names the size and what there is."""


class WireError(OcheError):
    """A message that cannot be used."""


class BadMessage(WireError):
    """The bytes are not a message of ours."""


class BadSignature(WireError):
    """The message is unsigned or signed with another key."""


class Unsendable(OcheError, TypeError):
    """A value that cannot travel to a worker; names the type and the way out."""


class JobError(OcheError):
    """A call failed without an exception of its own."""


class TaskError(JobError):
    """The task raised an exception that cannot be rebuilt here; `type_name` is its name."""

    def __init__(self, message: str, type_name: str = "") -> None:
        super().__init__(message, type_name)
        self.type_name = type_name

    def __str__(self) -> str:
        return f"{self.type_name}: {self.args[0]}" if self.type_name else str(self.args[0])


class TaskNotFound(JobError):
    """The worker cannot import the task."""


class WrongCode(JobError):
    """The worker's code for the task has another fingerprint than the caller's."""


class Refused(JobError):
    """The worker may not run this job."""


class Crashed(JobError):
    """The process that ran the call died on every attempt; the message names signal and peak memory."""


class TimedOut(JobError, TimeoutError):
    """The call ran over its time limit."""


class ResultUnsendable(JobError):
    """The task returned a value that cannot travel."""


class LockHeld(OcheError, TimeoutError):
    """A lock was not free in time; the message names its holder."""


class Broken(OcheError, BrokenExecutor):
    """The cluster cannot go on; the message says why."""


class JournalError(OcheError):
    """The journal of a named run cannot be read or written."""
