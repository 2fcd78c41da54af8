"""docs/plugins.md: each example runs, and prints what it should."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from oche.testing.servers import missing

TEXT = (Path(__file__).parent.parent.parent / "docs" / "plugins.md").read_text()
#: What stands in the heading above an example -> the package it needs, what it prints.
EXAMPLES = {
    "joblib and scikit-learn": ("sklearn", "{'C': 1, 'gamma': 0.1}"),
    "multiprocessing.Pool": ("oche", "[4, 5]\n1\n2\n5"),
    "asyncio": ("oche", "1024\n[0, 1, 2]\n0.0\n1.0\n2.0"),
    "Notebooks": ("oche", "500500"),
}


def examples() -> dict[str, str]:
    parts = re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    blocks = {title: re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL) for title, text in parts}
    assert all(len(found) == 1 for found in blocks.values())
    return {title: found[0] for title, found in blocks.items()}


def test_every_example_is_run_here() -> None:
    assert set(examples()) == set(EXAMPLES)


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_runs(title: str, tmp_path: Path) -> None:
    package, printed = EXAMPLES[title]
    missing(package=package)
    program = tmp_path / "program.py"
    program.write_text(examples()[title])
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split("\n")[:-1]
    assert sorted(lines) == sorted(printed.split("\n"))  # some come as they are done
