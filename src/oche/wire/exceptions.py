"""What a task raised, there and back: an exception of the caller's own class where that can be had.

The worker tries at once whether the exception can be rebuilt, first from its class and arguments, which are
readable, then from a pickle; if neither, `args` and `pickle` say so, and the caller gets a `TaskError`.
"""

from __future__ import annotations

import builtins
import concurrent.futures
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from oche.errors import (
    Crashed,
    Refused,
    ResultUnsendable,
    TaskError,
    TaskNotFound,
    TimedOut,
    ValueLost,
    WrongCode,
)
from oche.wire.codec import decode_values, encode_values
from oche.wire.outcome import Cause, Failure
from oche.wire.pickles import clean, from_text, loads, pickled, to_text
from oche.wire.symbols import find, name_of, symbol

#: Stands where the arguments would: they do not rebuild the exception.
_NO_ARGS = b"null"
#: Most characters of a message and of a traceback that travel.
_MESSAGE = 10_000
_TRACEBACK = 60_000

_CLASSES: dict[Cause, type[Exception]] = {
    Cause.CRASHED: Crashed,
    Cause.TIMEOUT: TimedOut,
    Cause.REFUSED: Refused,
    Cause.NOT_FOUND: TaskNotFound,
    Cause.WRONG_CODE: WrongCode,
    Cause.UNSENDABLE: ResultUnsendable,
    Cause.LOST: ValueLost,
    Cause.CANCELLED: concurrent.futures.CancelledError,
}


class RemoteTraceback(Exception):
    """The cause of an exception that a task raised: its traceback on the worker, as text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return self.text


def describe(error: BaseException, *, pickles: bool) -> Failure:
    """The failure of a call that raised. Raises nothing of its own, whatever the exception does.

    The traceback is that of `error` and what caused it, without the worker's own frames.
    """
    args, pickle = _parts(error, pickles)
    return Failure(
        cause=Cause.RAISED,
        message=_message(error),
        exception=clean(name_of(type(error))),
        args=msgspec.Raw(args),
        pickle=pickle,
        traceback=_text(error),
    )


def rebuild(failure: Failure, *, trusted: bool, where: str = "") -> BaseException:
    """The exception to raise at the caller; `where` is the worker's name. Never raises.

    What the task raised has a `RemoteTraceback` as its cause. From an unsigned message only exceptions of
    Python itself are rebuilt; the others are a `TaskError`.
    """
    place = f" (on {where})" if where else ""
    error: BaseException | None
    if failure.cause is Cause.RAISED:
        error = _own(failure, trusted)
        if error is None:
            kind = failure.exception.replace(":", ".").removeprefix("builtins.")
            error = TaskError(failure.message, kind)
    else:
        error = _CLASSES[failure.cause](failure.message + place)
    if failure.traceback:
        error.__cause__ = RemoteTraceback(f'\n"""{place}\n{failure.traceback.rstrip()}\n"""')
    return error


def _parts(error: BaseException, pickles: bool) -> tuple[bytes, str]:
    """Arguments and pickle, of which at most one rebuilds the exception."""
    notes = "__notes__" in _state(error)
    # Arguments are for people, too, but notes travel only in a pickle.
    if pickles and notes and (pickle := _pickled(error)):
        return _NO_ARGS, pickle
    args = _arguments(error, pickles)
    if args is not None:
        return args, ""
    return _NO_ARGS, _pickled(error) if pickles else ""


def _arguments(error: BaseException, pickles: bool) -> bytes | None:
    """The arguments for its class that give it back, encoded; None if there are none such."""
    kind = type(error)
    try:
        # Local classes have no name to be found by. One of a script has: the caller's.
        if "<" in kind.__qualname__ or not (kind.__module__ == "__main__" or symbol(kind)):
            return None
        args = _plain(error)
        if args is None:
            return None
        data = encode_values(args, pickles=pickles)
        again = kind(*decode_values(data, trusted=pickles))
        same = _plain(again) if type(again) is kind else None
        return data if same is not None and encode_values(same, pickles=pickles) == data else None
    except Exception:
        return None


def _plain(error: BaseException) -> tuple[Any, ...] | None:
    """What pickle would give its class to make it anew, if that and notes are all it has.

    An `OSError` has more arguments than `args` shows.
    """
    made = error.__reduce_ex__(4)
    if isinstance(made, str) or made[0] is not type(error) or any(made[3:]):
        return None
    state = made[2] if len(made) > 2 else None
    return None if state and set(state) - {"__notes__"} else made[1]


def _pickled(error: BaseException) -> str:
    """Its pickle as text, if that gives back the like; else ""."""
    try:
        data = pickled(error)
        again = loads(data)
        if not isinstance(again, BaseException) or name_of(type(again)) != name_of(type(error)):
            return ""
        return to_text(data) if _message(again) == _message(error) else ""
    except Exception:
        return ""


def _own(failure: Failure, trusted: bool) -> BaseException | None:
    """The exception itself, if it can be had here."""
    try:
        if failure.pickle:
            found = loads(from_text(failure.pickle)) if trusted else None
            return found if isinstance(found, BaseException) else None
        if bytes(failure.args) == _NO_ARGS:
            return None
        kind = _class(failure.exception, trusted)
        if kind is None:
            return None
        made: object = kind(*decode_values(failure.args, trusted=trusted))
        return made if isinstance(made, BaseException) else None
    except Exception:
        return None


def _class(name: str, trusted: bool) -> type[BaseException] | None:
    """The class of this name, if it is one of exceptions."""
    if trusted:
        kind = find(name)
        return kind if isinstance(kind, type) and issubclass(kind, BaseException) else None
    # Not SystemExit or KeyboardInterrupt: a stranger must not end the caller's program.
    module, _, attribute = name.partition(":")
    kind = vars(builtins).get(attribute) if module == "builtins" else None
    return kind if isinstance(kind, type) and issubclass(kind, Exception) else None


def _state(error: BaseException) -> dict[str, Any]:
    state = getattr(error, "__dict__", None)
    return state if isinstance(state, dict) else {}


def _message(error: BaseException) -> str:
    try:
        return _cut(str(error), _MESSAGE)
    except Exception as broken:
        return f"<its __str__ raised {type(broken).__name__}>"


def _text(error: BaseException) -> str:
    try:
        top = _below_worker(error.__traceback__)
        lines = traceback.TracebackException(type(error), error, top, compact=True).format()
        return _cut("".join(lines), _TRACEBACK)
    except Exception:  # a chain too deep to format, a __cause__ that is broken
        return f"{type(error).__name__}: {_message(error)}\n"


def _below_worker(frame: TracebackType | None) -> TracebackType | None:
    """The traceback from the task's own first frame on; all of it if the worker itself raised."""
    worker = str(Path(__file__).parent.parent / "worker")
    top = frame
    while top is not None and str(Path(top.tb_frame.f_code.co_filename).parent) == worker:
        top = top.tb_next
    return top if top is not None else frame


def _cut(text: str, limit: int) -> str:
    """The text as UTF-8 can hold it, without its middle if it is too long."""
    text = clean(text)
    half = limit // 2
    return (
        text if len(text) <= limit else f"{text[:half]}\n... {len(text) - 2 * half} characters cut ...\n{text[-half:]}"
    )
