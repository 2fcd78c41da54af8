"""How a function gets to a worker: by name, or by value; and what a worker will not run."""

from __future__ import annotations

import functools
import gc
import math
import operator
import os
import pickle
import subprocess
import sys
import threading
import types
import weakref
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

import naming
from oche.errors import ConfigError, Refused, TaskNotFound, Unsendable, WrongCode
from oche.wire.fingerprint import PYTHON
from oche.wire.task import References, Task, TaskOptions, TaskRef, reference, resolve, task


def plain(x: int) -> int:
    return x + 1


@task
def bare(x: int) -> int:
    """Doubles."""
    return 2 * x


@task(retries=3, timeout=5)
def optioned(x: int) -> int:
    return 3 * x


def hidden(x: int) -> int:
    return 4 * x


wrapped = task(hidden, priority=7)


@numba.njit
def compiled(x: int) -> int:
    return x + 5


@task
@numba.njit
def compiled_task(x: int) -> int:
    return x + 6


class Kit:
    def __init__(self, base: int) -> None:
        self.base = base

    def add(self, x: int) -> int:
        return self.base + x

    def __call__(self, x: int) -> int:
        return self.base * x

    @classmethod
    def make(cls, x: int) -> int:
        return x + 100

    @staticmethod
    def still(x: int) -> int:
        return x + 200

    @task(retries=1)
    def method(self, x: int) -> int:
        return self.base - x


command = os.getpid
foreign_task = resolve  # imported, and no task


def there(fn: Any, **options: Any) -> tuple[TaskRef, Any]:
    ref = reference(fn, **options)
    return ref, functools.partial(resolve(ref.name, ref.fingerprint, ref.code, trusted=True), *ref.args, **ref.kwargs)


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (plain, "plain"),
        (bare, "bare"),
        (optioned, "optioned"),
        (bare.function, "bare"),
        (compiled, "compiled"),
        (compiled_task, "compiled_task"),
        (compiled_task.function, "compiled_task"),
        (Kit.make, "Kit.make"),
        (Kit.still, "Kit.still"),
        (Kit, "Kit"),
    ],
    ids=naming.plain,
)
def test_what_can_be_imported_goes_by_name(fn: Any, name: str) -> None:
    ref, back = there(fn)
    assert (ref.name, ref.code) == (f"{__name__}:{name}", "")
    assert ref.fingerprint.startswith("sha256:")
    if fn is Kit:
        assert back(3).base == 3
    else:
        assert back(3) == fn(3)


@pytest.mark.parametrize(
    ("fn", "argument", "name"),
    [
        (math.sqrt, 4.0, "math:sqrt"),
        (len, "abc", "builtins:len"),
        (str.upper, "abc", "builtins:str.upper"),
        (operator.neg, 1, "_operator:neg"),
        (dict.fromkeys, "ab", "builtins:dict.fromkeys"),
        (int, "7", "builtins:int"),
        (np.sin, 0.5, "numpy:sin"),
        (np.sum, [1, 2], "numpy:sum"),
    ],
    ids=naming.plain,
)
def test_builtins_and_functions_of_libraries_go_by_name(fn: Any, argument: Any, name: str) -> None:
    ref, back = there(fn)
    assert (ref.name, ref.code) == (name, "")
    assert back(argument) == fn(argument)


@pytest.mark.parametrize(
    "fn", [lambda x: x + 1, Kit(10).add, Kit(10), Kit(10).method, "a".__add__, np.random.default_rng], ids=naming.plain
)
def test_the_rest_goes_by_value_with_a_name_to_read(fn: Any) -> None:
    ref, back = there(fn)
    if fn is np.random.default_rng:
        assert ref.code == ""  # a builtin that says where it is from
        return
    assert ref.code
    assert ":" in ref.name
    argument = "b" if ref.name.endswith("__add__") else 3
    assert back(argument) == fn(argument)


def test_a_closure_goes_with_what_it_holds_now() -> None:
    held = [1]

    def closure(x: int) -> int:
        return x + held[0]

    references = References()
    first = references.get(closure)
    held[0] = 50
    second = references.get(closure)
    assert first.fingerprint != second.fingerprint
    assert first.fingerprint.endswith(f"/{PYTHON}")
    assert first.name == f"{__name__}:test_a_closure_goes_with_what_it_holds_now.<locals>.closure"
    for ref, value in ((first, 2), (second, 51)):
        assert resolve(ref.name, ref.fingerprint, ref.code, trusted=True)(1) == value


def test_a_module_that_is_nowhere_on_disk_goes_by_value_with_its_helpers() -> None:
    module = types.ModuleType("made_up_module")
    sys.modules["made_up_module"] = module
    try:
        exec("def helper(x):\n    return x + 1\ndef f(x):\n    return helper(x) * 2\n", module.__dict__)
        ref = reference(module.f)
    finally:
        del sys.modules["made_up_module"]
    assert ref.name == "made_up_module:f"
    assert resolve(ref.name, ref.fingerprint, ref.code, trusted=True)(1) == 4


def test_by_value_takes_along_the_functions_own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "client_module.py").write_text(
        "def helper(x):\n    return x + 1\ndef f(x):\n    return helper(x) * 2\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import client_module  # type: ignore[import-not-found]

    ref = reference(client_module.f, by_value=True)
    assert (ref.name, bool(ref.code)) == ("client_module:f", True)
    program = (
        "import sys; from oche.wire.task import resolve\n"
        "name, fingerprint, code = sys.argv[1:]\n"
        "print(resolve(name, fingerprint, code, trusted=True)(1))"
    )
    out = subprocess.run(
        [sys.executable, "-c", program, ref.name, ref.fingerprint, ref.code],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert out.stdout == "4\n"
    assert reference(client_module.f).code == ""  # and no trace of it is left


def test_a_script_sends_its_tasks_by_value_also_those_that_call_themselves() -> None:
    script = (
        "from oche.wire.task import reference, task\n"
        "def helper(x):\n    return x + 1\n"
        "@task(retries=2)\n"
        "def down(x):\n    return helper(0) if x == 0 else down(x - 1) + 1\n"
        "ref = reference(down)\n"
        "print(ref.name, ref.fingerprint, ref.code, ref.options.retries)"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    name, fingerprint, code, retries = out.stdout.split()
    assert (name, retries) == ("__main__:down", "2")
    assert resolve(name, fingerprint, code, trusted=True)(5) == 6


def test_partials_are_bound_in_layers_and_keep_the_options() -> None:
    def add(a: int, b: int, c: int = 0, d: int = 0) -> tuple[int, ...]:
        return a, b, c, d

    inner = functools.partial(functools.partial(add, 1, c=3), 2, d=4, c=30)
    ref, back = there(inner)
    assert (ref.args, ref.kwargs) == ((1, 2), {"c": 30, "d": 4})
    assert back() == inner()
    ref = reference(functools.partial(optioned, 5))
    assert (ref.name, ref.args, ref.options) == (f"{__name__}:optioned", (5,), TaskOptions(retries=3, timeout=5))
    ref = reference(task(functools.partial(plain, 5), delay=1))
    assert (ref.name, ref.args, ref.options.delay) == (f"{__name__}:plain", (5,), 1)


def test_a_task_of_another_name_goes_by_the_name_of_its_function() -> None:
    ref, back = there(wrapped)
    assert (ref.name, ref.options.priority, ref.code) == (f"{__name__}:hidden", 7, "")
    assert back(2) == 8


def test_what_cannot_go_either_way_is_refused_with_advice() -> None:
    lock = threading.Lock()
    with pytest.raises(Unsendable, match=r"<lambda> cannot be sent by value .*module that workers can import"):
        reference(lambda: lock)
    with pytest.raises(Unsendable, match="not callable"):
        reference(5)  # type: ignore[arg-type]


def test_references_by_name_are_remembered_but_keep_nothing_alive() -> None:
    references = References()
    assert references.get(plain) is references.get(plain)

    def closure() -> None:
        pass

    references.get(closure)
    gone = weakref.ref(closure)
    del closure
    gc.collect()
    assert gone() is None


def test_a_task_is_still_its_function() -> None:
    assert bare(4) == 8
    assert (bare.__name__, bare.__doc__, bare.__module__) == ("bare", "Doubles.", __name__)
    assert pickle.loads(pickle.dumps(bare)) is bare
    assert Kit(10).method(3) == 7
    assert reference(Kit(10).method).options.retries == 1
    assert repr(bare) == f"<task {__name__}:bare>"


def test_options_given_again_replace_the_others_stay() -> None:
    assert bare.options == TaskOptions()
    assert optioned.options == TaskOptions(retries=3, timeout=5)
    again = task(optioned, timeout=None, delay=2.5)
    assert isinstance(again, Task)
    assert again.function is optioned.function
    assert again.options == TaskOptions(retries=3, timeout=None, delay=2.5)


@pytest.mark.parametrize(
    "options",
    [
        {"retries": -1},
        {"retries": 1.5},
        {"retries": True},
        {"timeout": 0},
        {"timeout": math.inf},
        {"timeout": "5"},
        {"priority": -1},
        {"priority": 2**32},
        {"priority": 1.0},
        {"delay": -0.1},
        {"delay": math.nan},
        {"delay": None},
        {"retry": 1},
    ],
)
def test_options_that_cannot_be_right_are_refused_where_they_are_written(options: Any) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        task(**options)
    with pytest.raises(ConfigError, match=next(iter(options))):
        task(plain, **options)


def test_something_that_is_no_function_is_no_task() -> None:
    with pytest.raises(ConfigError, match="not callable"):
        task(5)  # type: ignore[call-overload]


# The worker's side.


def test_other_code_is_refused_with_both_fingerprints_and_the_file() -> None:
    own = reference(plain).fingerprint
    for theirs in ("sha256:0123456789abcdef", ""):
        with pytest.raises(WrongCode) as caught:
            resolve(f"{__name__}:plain", theirs, "", trusted=True)
        assert own in str(caught.value)
        assert theirs in str(caught.value)
        assert __file__ in str(caught.value)


def test_code_by_value_from_another_python_or_damaged_is_refused() -> None:
    ref = reference(lambda: 1)
    with pytest.raises(WrongCode, match=r"python-2\.7"):
        resolve(ref.name, ref.fingerprint.replace(PYTHON, "python-2.7"), ref.code, trusted=True)
    with pytest.raises(TaskNotFound, match="not that of its fingerprint"):
        resolve(ref.name, ref.fingerprint, reference(lambda: 2).code, trusted=True)
    with pytest.raises(TaskNotFound, match="base64"):
        resolve(ref.name, ref.fingerprint, "!", trusted=True)


@pytest.mark.parametrize(
    "name",
    ["no_such_module:f", f"{__name__}:missing", "nothing", ":f", "os:", ".a:f", f"{__name__}:math.missing", "os:sep"],
)
def test_what_cannot_be_imported_is_not_found(name: str) -> None:
    with pytest.raises(TaskNotFound) as caught:
        resolve(name, "", "", trusted=True)
    if name.startswith("no_such"):
        assert "'no_such_module'" in str(caught.value)
        assert sys.path[-1] in str(caught.value)
        assert "PYTHONPATH" in str(caught.value)


@pytest.mark.parametrize("code", ["import sys; sys.exit(3)", "1/0", "def ("])
def test_a_module_that_fails_when_imported_is_not_found(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing_module.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(TaskNotFound, match="failing_module"):
        resolve("failing_module:f", "", "", trusted=True)


ALLOWED = frozenset({__name__})


def test_an_unsigned_job_may_name_tasks_of_allowed_modules() -> None:
    assert resolve(f"{__name__}:bare", "", "", trusted=False, allowed=ALLOWED)(2) == 4
    assert resolve(f"{__name__}:bare", reference(bare).fingerprint, "", trusted=False, allowed=ALLOWED)(2) == 4
    with pytest.raises(WrongCode):
        resolve(f"{__name__}:bare", "sha256:0123456789abcdef", "", trusted=False, allowed=ALLOWED)


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "math:sqrt",
        f"{__name__}:plain",
        f"{__name__}:os.system",
        f"{__name__}:os",
        f"{__name__}:command",
        f"{__name__}:Kit",
        f"{__name__}:Kit.method",
        f"{__name__}:bare.function",
        f"{__name__}:bare.__call__",
        f"{__name__}:foreign_task",
        f"{__name__}:missing",
        f"{__name__}:__builtins__",
        f"{__name__}:",
        __name__,
        "",
        ":",
    ],
)
def test_an_unsigned_job_may_name_nothing_else(name: str) -> None:
    with pytest.raises(Refused):
        resolve(name, "", "", trusted=False, allowed=ALLOWED)


def test_a_task_that_an_allowed_module_only_imported_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = types.ModuleType("other_module")
    other.bare = bare  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "other_module", other)
    with pytest.raises(Refused):
        resolve("other_module:bare", "", "", trusted=False, allowed=frozenset({"other_module"}))


def test_an_unsigned_job_carries_no_code() -> None:
    ref = reference(lambda: 1)
    with pytest.raises(Refused):
        resolve(f"{__name__}:bare", ref.fingerprint, ref.code, trusted=False, allowed=ALLOWED)


def test_nothing_is_imported_before_a_job_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret_module.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Refused):
        resolve("secret_module:f", "", "", trusted=False, allowed=ALLOWED)
    assert "secret_module" not in sys.modules
