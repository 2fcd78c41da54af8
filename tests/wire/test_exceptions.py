"""Exceptions reach the caller as what they were, and do no harm on the way."""

from __future__ import annotations

import concurrent.futures
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import oche.worker
from naming import plain
from oche.errors import Crashed, Refused, ResultUnsendable, TaskError, TaskNotFound, TimedOut, WrongCode
from oche.wire.exceptions import RemoteTraceback, describe, rebuild
from oche.wire.outcome import Cause, Failure


class Simple(Exception):
    pass


class WithState(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code

    def __reduce__(self) -> Any:
        return WithState, (self.code,)


class Attributed(Exception):
    pass


class Greedy(Exception):
    """Its arguments do not rebuild it."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


class Optional(Exception):
    """Rebuilt from its arguments it would be another, without complaint."""

    def __init__(self, first: str = "lost", second: str = "lost") -> None:
        super().__init__()
        self.first, self.second = first, second

    def __str__(self) -> str:
        return self.first + self.second


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Hostile(Exception):
    def __reduce_ex__(self, protocol: Any) -> Any:
        raise RuntimeError("no parts")


class Farewell(BaseException):
    pass


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def there(error: BaseException, *, pickles: bool = True) -> tuple[Failure, BaseException]:
    failure = describe(raised(error), pickles=pickles)
    failure = msgspec.json.decode(msgspec.json.encode(failure), type=Failure)
    assert failure.cause is Cause.RAISED
    return failure, rebuild(failure, trusted=pickles, where="host:1/0")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a", 1, (2, 3)),
        KeyError("k"),
        ZeroDivisionError(),
        OSError(2, "No such file", "name"),
        FileNotFoundError(2, "No such file", "a", None, "b"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        SyntaxError("bad", ("f.py", 1, 2, "text", 1, 3)),
        StopIteration(7),
        RecursionError("deep"),
        Simple("x", [1]),
        Simple("\udce9"),
        WithState(7),
    ],
    ids=plain,
)
def test_the_callers_own_class_and_arguments_come_back_readable(error: BaseException) -> None:
    failure, back = there(error)
    assert type(back) is type(error)
    assert back.args == error.args
    assert str(back) == str(error)
    assert vars(back) == vars(error)
    assert failure.pickle == ""
    assert b"$pickle" not in bytes(failure.args)
    if isinstance(error, OSError):
        assert (back.errno, back.filename, back.filename2) == (error.errno, error.filename, error.filename2)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Farewell("bye")], ids=plain)
def test_exceptions_that_end_programs_come_back_from_a_signed_message_only(error: BaseException) -> None:
    assert type(there(error)[1]) is type(error)
    assert there(error)[1].args == error.args
    back = rebuild(describe(raised(error), pickles=False), trusted=False)
    assert type(back) is TaskError
    assert type(error).__name__ in str(back)


def test_what_the_class_and_arguments_do_not_hold_comes_in_a_pickle() -> None:
    error = Attributed("x")
    error.hint = [1]  # type: ignore[attr-defined]
    assert there(error)[1].hint == [1]  # type: ignore[attr-defined]
    error = Attributed("x")
    error.add_note("a note")
    assert there(error)[1].__notes__ == ["a note"]  # type: ignore[attr-defined]
    missing = ImportError("x", name="mod", path="p")
    back = there(missing)[1]
    assert (back.name, back.path) == ("mod", "p")  # type: ignore[attr-defined]
    array = there(Simple(np.arange(3)))[1]
    assert array.args[0].tolist() == [0, 1, 2]


def test_notes_do_not_keep_a_class_from_coming_back_unsigned() -> None:
    error = ValueError("x")
    error.add_note("a note")
    failure, back = there(error, pickles=False)
    assert (type(back), back.args) == (ValueError, ("x",))
    assert "a note" in failure.traceback


def test_groups_come_back_with_their_members() -> None:
    group = ExceptionGroup("two", [ValueError(1), ExceptionGroup("in", [Simple("s")])])
    failure, back = there(group)
    assert isinstance(back, ExceptionGroup)
    assert [type(member) for member in back.exceptions] == [ValueError, ExceptionGroup]
    assert back.exceptions[1].exceptions[0].args == ("s",)
    assert "Simple: s" in failure.traceback
    unsigned = rebuild(describe(raised(group), pickles=False), trusted=False)
    assert type(unsigned) is TaskError


def test_a_class_local_to_a_function_comes_back_by_value() -> None:
    class Local(Exception):
        pass

    assert type(there(Local("x"))[1]) is Local


@pytest.mark.parametrize(
    "error", [Greedy("one", "two"), Hostile("x"), Simple(iter(()))], ids=["greedy", "hostile", "held"]
)
def test_what_cannot_be_rebuilt_is_a_task_error_with_its_name_and_text(error: Exception) -> None:
    failure, back = there(Simple(x for x in ()) if type(error) is Simple else error)
    assert type(back) is TaskError
    assert back.type_name == f"{__name__}.{type(error).__name__}"
    assert failure.message in str(back)
    assert isinstance(back.__cause__, RemoteTraceback)


def test_an_exception_is_never_rebuilt_as_another_one() -> None:
    assert str(there(Optional("a", "b"))[1]) == "ab"
    back = there(Optional("a", "b"), pickles=False)[1]
    assert type(back) is TaskError
    assert str(back).endswith("ab")


def test_a_broken_text_does_not_break_the_description() -> None:
    failure, back = there(Broken("x"))
    assert failure.message == "<its __str__ raised RuntimeError>"
    assert type(back) is Broken
    assert "Broken" in failure.traceback
    assert type(there(Broken(Broken()), pickles=False)[1]) is TaskError


def test_long_texts_are_cut() -> None:
    failure, _ = there(Greedy("x" * 1_000_000, ""))
    assert len(failure.message) < 11_000
    assert len(failure.traceback) < 70_000
    assert "characters cut" in failure.message


def test_the_traceback_shows_the_chain_and_begins_in_the_task() -> None:
    namespace: dict[str, Any] = {}
    child = Path(next(iter(oche.worker.__path__))) / "child.py"
    exec(compile("def run(f):\n    f()\n", str(child), "exec"), namespace)

    def inner() -> None:
        try:
            raise KeyError("root")
        except KeyError as error:
            raise Simple("top") from error

    try:
        namespace["run"](lambda: namespace["run"](inner))
    except Simple as error:
        caught = error
        while caught.__traceback__ and caught.__traceback__.tb_frame.f_code.co_filename == __file__:
            caught = caught.with_traceback(caught.__traceback__.tb_next)  # as the child catches it
        failure = describe(caught, pickles=True)
    first = next(line for line in failure.traceback.split("Traceback")[2].splitlines() if "File" in line)
    assert __file__ in first
    assert failure.traceback.count("child.py") == 1  # only where the task itself went through it
    assert "direct cause" in failure.traceback
    assert "KeyError: 'root'" in failure.traceback


def test_a_frame_of_the_worker_stays_if_there_is_no_other() -> None:
    child = Path(next(iter(oche.worker.__path__))) / "child.py"
    try:
        exec(compile("1/0", str(child), "exec"))
    except ZeroDivisionError as error:
        top = error.__traceback__
        assert top is not None
        failure = describe(error.with_traceback(top.tb_next), pickles=True)
    assert "child.py" in failure.traceback


def test_a_chain_of_many_thousands_is_described() -> None:
    error: BaseException = ValueError(0)
    for number in range(20_000):
        following = ValueError(number)
        following.__cause__ = error
        error = following
    assert "ValueError" in describe(error, pickles=True).traceback
    while error.__cause__ is not None:  # by hand, lest the destructor recurse
        error.__cause__, error = None, error.__cause__


def test_the_callers_traceback_shows_the_workers() -> None:
    _, back = there(ValueError("x"))
    cause = back.__cause__
    assert isinstance(cause, RemoteTraceback)
    assert "host:1/0" in str(cause)
    assert "raise error" in str(cause)
    assert str(pickle.loads(pickle.dumps(cause))) == str(cause)


def test_a_scripts_own_class_comes_back_to_the_script() -> None:
    script = (
        "from oche.wire.exceptions import describe, rebuild\n"
        "class Mine(Exception): pass\n"
        "failure = describe(Mine(1), pickles=True)\n"
        "back = rebuild(failure, trusted=True)\n"
        "print(type(back) is Mine, back.args, failure.exception, failure.pickle == '')"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert out.stdout == "True (1,) __main__:Mine True\n"


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (Cause.CRASHED, Crashed),
        (Cause.TIMEOUT, TimedOut),
        (Cause.REFUSED, Refused),
        (Cause.NOT_FOUND, TaskNotFound),
        (Cause.WRONG_CODE, WrongCode),
        (Cause.UNSENDABLE, ResultUnsendable),
        (Cause.CANCELLED, concurrent.futures.CancelledError),
    ],
)
def test_other_causes_are_errors_of_oche(cause: Cause, kind: type[BaseException]) -> None:
    for trusted in (True, False):
        back = rebuild(Failure(cause=cause, message="why"), trusted=trusted, where="host:1/0")
        assert type(back) is kind
        assert str(back) == "why (on host:1/0)"


def test_every_cause_has_an_error() -> None:
    for cause in Cause:
        assert isinstance(rebuild(Failure(cause=cause, message="why"), trusted=False), BaseException)


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize(
    ("exception", "args"),
    [
        ("os:mkdir", b'["trap"]'),
        ("os:system", b'["mkdir trap"]'),
        ("builtins:exec", b"[\"import os; os.mkdir('trap')\"]"),
        ("subprocess:Popen", b'[["mkdir", "trap"]]'),
        ("builtins:ValueError.mro", b"[]"),
        ("builtins:NoSuchThing", b"[]"),
        ("", b"[]"),
        ("ValueError", b"[]"),
        ("builtins:ValueError", b"null"),
        ("builtins:ValueError", b"[[["),
        ("builtins:UnicodeDecodeError", b"[1]"),
    ],
)
def test_only_exceptions_are_made_of_what_arrives(
    exception: str, args: bytes, trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    failure = Failure(cause=Cause.RAISED, message="m", exception=exception, args=msgspec.Raw(args))
    assert type(rebuild(failure, trusted=trusted)) is TaskError
    assert list(tmp_path.iterdir()) == []


class Trap:
    def __reduce__(self) -> Any:
        return Path.mkdir, (Path("trap"),)


def test_an_unsigned_failure_runs_no_code_and_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import base64

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "planted_module.py").write_text("class E(Exception): pass\n")
    bomb = base64.b64encode(pickle.dumps(Trap())).decode()
    for failure in (
        Failure(cause=Cause.RAISED, message="m", exception="builtins:ValueError", pickle=bomb),
        Failure(
            cause=Cause.RAISED,
            message="m",
            exception="builtins:ValueError",
            args=msgspec.Raw(b'[{"$pickle":"%b"}]' % bomb.encode()),
        ),
        Failure(cause=Cause.RAISED, message="m", exception="planted_module:E"),
        Failure(cause=Cause.RAISED, message="m", exception=f"{__name__}:Simple"),
    ):
        assert type(rebuild(failure, trusted=False)) is TaskError
    assert not (tmp_path / "trap").exists()
    assert "planted_module" not in sys.modules
    rebuild(Failure(cause=Cause.RAISED, message="m", pickle=bomb), trusted=True)
    assert (tmp_path / "trap").exists()  # the trap does spring
