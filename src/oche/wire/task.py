"""Tasks: functions that workers may run; how one is named on the wire, and found again on the other side.

A function that workers can import goes by its name and the fingerprint of its code; any other, of `__main__` or
made on the spot, goes by value, as a pickle in the job.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import MethodType
from typing import Any, Generic, ParamSpec, TypeVar, Unpack, overload
from weakref import WeakKeyDictionary

from oche.errors import ConfigError, Refused, TaskNotFound, Unsendable, WrongCode
from oche.wire.fingerprint import PYTHON, check_code, digest
from oche.wire.fingerprint import fingerprint as fingerprint_of
from oche.wire.options import TaskChoices, TaskOptions
from oche.wire.pickles import clean, cloud_dumps, from_text, loads, to_text
from oche.wire.symbols import find, importable, loaded, module_of, name_of, symbol

P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class Task(Generic[P, R]):
    """A function with options. Calling it calls the function, here and now."""

    def __init__(self, function: Callable[P, R], options: TaskOptions) -> None:
        functools.update_wrapper(self, function)
        self.function = function  # after the wrapped one's attributes, which may have these names
        self.options = options

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> object:
        return self if instance is None else MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<task {name_of(self.function)}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        # A string tells pickle to look the object up by that name.
        return self.__qualname__ if symbol(self) else (Task, (self.function, self.options))  # type: ignore[attr-defined]


@overload
def task(function: Callable[P, R], /, **options: Unpack[TaskChoices]) -> Task[P, R]: ...
@overload
def task(function: None = None, /, **options: Unpack[TaskChoices]) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(function: Callable[..., Any] | None = None, /, **options: Unpack[TaskChoices]) -> Any:
    """Marks a function as a task: `@task`, `@task(retries=2, timeout=60.0)` or `task(function, retries=2)`.

    `retries` are further tries for a call that raises, `crashes` (2) for one whose process dies or whose worker is
    lost; `timeout` and `delay` are seconds; a call that is `alone` shares its job with no other, for calls of unlike
    length. A task of a task keeps the options that are not given again. Raises
    `ConfigError` for an unknown option or a value that cannot be right.
    """
    unknown = set(options) - TaskChoices.__annotations__.keys()
    if unknown:
        known = ", ".join(TaskChoices.__annotations__)
        raise ConfigError(f"a task has no option {', '.join(sorted(unknown))}; there are {known}")
    chosen = TaskOptions(**options)  # a mistake shows where it is written
    if function is None:
        return functools.partial(task, **options)
    if isinstance(function, Task):
        return Task(function.function, replace(function.options, **options))
    if not callable(function):
        raise ConfigError(f"{function!r} cannot be a task: it is not callable; give options by keyword")
    return Task(function, chosen)


@dataclass(frozen=True, slots=True)
class TaskRef:
    """A task as it travels, with the arguments that `functools.partial` bound to it."""

    name: str  #: "module:qualname"
    fingerprint: str
    code: str = ""  #: base64 of the pickled function, where workers cannot import it
    options: TaskOptions = field(default_factory=TaskOptions)
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


def reference(fn: Callable[..., object], *, by_value: bool = False) -> TaskRef:
    """The task to send for a callable: by name if workers can import it, else, or if `by_value`, by value.

    Raises `Unsendable` for what can go neither way.
    """
    return References().get(fn, by_value=by_value)


class References:
    """Makes references, and remembers those by name as long as their functions live.

    What goes by value is pickled anew each time, as what it refers to may have changed.
    """

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[object, TaskRef] = WeakKeyDictionary()

    def get(self, fn: Callable[..., object], *, by_value: bool = False) -> TaskRef:
        """As `reference`."""
        if not by_value:
            try:
                return self._known[fn]
            except (KeyError, TypeError):  # not met before, or not to be remembered
                pass
        return self._make(fn, by_value)

    def _make(self, fn: Callable[..., object], by_value: bool) -> TaskRef:
        if not callable(fn):
            raise Unsendable(f"{clean(repr(fn))[:80]} cannot be sent as a task: it is not callable; give a function")
        if type(fn) is functools.partial:
            ref = self.get(fn.func, by_value=by_value)
            return replace(ref, args=(*ref.args, *fn.args), kwargs={**ref.kwargs, **fn.keywords})
        if isinstance(fn, Task) and (by_value or not symbol(fn)):
            # Not under its own name, as for `task(function, ...)`; the function may have one.
            return replace(self.get(fn.function, by_value=by_value), options=fn.options)
        options = TaskOptions()
        if isinstance(fn, Task):
            options = fn.options
        elif isinstance(fn, MethodType) and isinstance(fn.__func__, Task):
            options = fn.__func__.options
        name = "" if by_value else _importable(fn)
        if not name:
            return _by_value(fn, options, whole_module=by_value)
        ref = TaskRef(name, fingerprint_of(fn), options=options)
        with contextlib.suppress(TypeError):  # neither weak references nor hash
            self._known[fn] = ref
        return ref


def _importable(fn: object) -> str:
    """Its name if that leads to it, or to a task made of it."""
    name = name_of(fn)
    found = loaded(name)
    made_of_it = isinstance(found, Task) and found.function is fn
    return name if made_of_it else symbol(fn)


def _by_value(fn: Callable[..., object], options: TaskOptions, whole_module: bool) -> TaskRef:
    name = name_of(fn)
    module = module_of(fn)
    try:
        data = cloud_dumps(fn, by_value=module if whole_module or not importable(module) else "")
    except Exception as error:
        reason = clean(f"{type(error).__name__}: {error}")[:300]
        raise Unsendable(
            f"the task {name} cannot be sent by value ({reason}); put it in a module that workers can import, "
            "or open what it holds (files, sockets, locks) inside of it"
        ) from error
    # Bytecode means nothing to another Python, or worse, something else.
    return TaskRef(name, f"{digest(data)}/{PYTHON}", to_text(data), options)


def resolve(
    name: str, fingerprint: str, code: str, *, trusted: bool, allowed: frozenset[str] = frozenset()
) -> Callable[..., object]:
    """The callable that a job names, on the worker's side; a `Task` comes as the function in it.

    A job that is not `trusted` may name only tasks (`@oche.task`) that were defined in an `allowed` module,
    and may leave the fingerprint empty. Raises `Refused` before anything is imported, `TaskNotFound`, `WrongCode`.
    """
    if not trusted:
        return _resolve_untrusted(name, fingerprint, code, allowed)
    if code:
        return _unpickle(name, fingerprint, code)
    try:
        found = find(name)
    except (Exception, SystemExit) as error:  # a script without a guard exits when it is imported
        raise _not_found(name, error) from error
    function = found.function if isinstance(found, Task) else found
    if not callable(function):
        raise TaskNotFound(f"{name} is a {type(function).__name__} here, not a function; update this node's code")
    check_code(name, fingerprint, function)
    return function


def _resolve_untrusted(name: str, fingerprint: str, code: str, allowed: frozenset[str]) -> Callable[..., object]:
    module, _, attribute = name.partition(":")
    if code:
        raise Refused(
            f"an unsigned job carries code ({name[:80]!r}); this worker runs that only if signed (`oche key`)"
        )
    if module not in allowed or not attribute.isidentifier():
        known = ", ".join(sorted(allowed)) or "none"
        raise Refused(
            f"unsigned jobs may name tasks of these modules: {known}; {name[:80]!r} is none; start the worker with "
            "its module, or sign the job (`oche key`)"
        )
    try:
        found = vars(importlib.import_module(module)).get(attribute)
    except (Exception, SystemExit) as error:
        raise _not_found(name, error) from error
    if not isinstance(found, Task) or module_of(found.function) != module:
        raise Refused(
            f"{name} is no task of its module; mark the function with @oche.task, or sign the job (`oche key`)"
        )
    if fingerprint:
        check_code(name, fingerprint, found.function)
    return found.function


def _unpickle(name: str, fingerprint: str, code: str) -> Callable[..., object]:
    _, _, python = fingerprint.partition("/")
    if python != PYTHON:
        raise WrongCode(f"{name} was sent by value from {python or 'an unknown Python'}, and this node runs {PYTHON}")
    try:
        data = from_text(code)
        if digest(data) != fingerprint.partition("/")[0]:
            raise ValueError("the code is not that of its fingerprint")
        function = loads(data)
    except (Exception, SystemExit) as error:
        raise TaskNotFound(
            f"{name} was sent by value and cannot be loaded here ({type(error).__name__}: {error}); install what it "
            f"imports on this node ({sys.executable})"
        ) from error
    if not callable(function):
        raise TaskNotFound(f"{name} was sent by value as a {type(function).__name__}, which cannot be called")
    return function


def _not_found(name: str, error: BaseException) -> TaskNotFound:
    module = name.partition(":")[0]
    path = ", ".join(entry or "the current directory" for entry in sys.path)
    return TaskNotFound(
        f"the module {module!r} of the task {name!r} cannot be used on this node "
        f"({type(error).__name__}: {error}); install it here, start the worker where it is, or set PYTHONPATH; "
        f"searched: {path}"
    )
