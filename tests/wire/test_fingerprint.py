"""The fingerprint is of the code that this process runs."""

from __future__ import annotations

import hashlib
import importlib
import math
import os
import statistics
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest

from oche.wire.fingerprint import PYTHON, fingerprint, of_module


def function() -> None:
    pass


def test_it_is_of_the_source_file() -> None:
    digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    assert fingerprint(function) == f"sha256:{digest[:16]}"


def test_the_standard_library_is_python() -> None:
    assert fingerprint(math.sqrt) == fingerprint(statistics.mean) == fingerprint(str.upper) == PYTHON
    assert f"python-{sys.version_info[0]}.{sys.version_info[1]}" == PYTHON


def test_extensions_have_that_of_their_distribution() -> None:
    assert fingerprint(np.sin) == fingerprint(np.linalg._umath_linalg.det) == f"numpy-{np.__version__}"
    assert of_module("msgspec._core") == f"msgspec-{msgspec.__version__}"


def test_an_edit_is_seen_by_the_next_process_and_not_by_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "edited_module.py"
    path.write_text("def f():\n    return 1\n")
    module = importlib.import_module("edited_module")
    before = fingerprint(module.f)
    path.write_text("def f():\n    return 22\n")
    assert fingerprint(module.f) == before
    program = "import edited_module; from oche.wire.fingerprint import fingerprint; print(fingerprint(edited_module.f))"
    environment = {"PYTHONPATH": ":".join([str(tmp_path), *sys.path])}
    after = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True, env=environment
    ).stdout.strip()
    assert after.startswith("sha256:")
    assert after != before


def test_modules_in_an_archive_have_one_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "def f():\n    return 1\n"
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("zipped_module.py", source)
    monkeypatch.syspath_prepend(str(tmp_path / "code.zip"))
    module = importlib.import_module("zipped_module")
    assert fingerprint(module.f) == f"sha256:{hashlib.sha256(source.encode()).hexdigest()[:16]}"


def test_a_change_anywhere_in_a_package_shows(tmp_path: Path) -> None:
    package = tmp_path / "farmhouse"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "tasks.py").write_text("from farmhouse.helpers import twice\n\ndef work(x):\n    return twice(x)\n")
    (package / "helpers.py").write_text("def twice(x):\n    return 2 * x\n")
    code = "import farmhouse.tasks, oche.wire.fingerprint as f; print(f.fingerprint(farmhouse.tasks.work))"

    def seen() -> str:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        ).stdout

    before = seen()
    assert before == seen()
    (package / "helpers.py").write_text("def twice(x):\n    return x + x + 1\n")
    assert seen() != before
