"""What the documents show is run as it stands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import oche
from farms import Farm
from oche.wire.codec import decode_calls, decode_values
from oche.wire.job import decode_job
from oche.wire.outcome import decode_outcome

ROOT = Path(__file__).parent.parent


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks of a language in a document."""
    found = re.findall(rf"^```{language}\n(.*?)^```", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{document} has no block in {language}"
    return found


def test_the_first_program_of_the_readme_runs(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(blocks("README.md", "python")[0])
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    low, high = map(float, done.stdout.split())
    assert 0.49 < low < 0.5 < high < 0.51


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("darts.py", "darts inside (seed 1)"),
        ("night.py", "77031 takes 350 steps"),
        ("wordcount.py", "words in"),
        ("search.py", "1000036000099 = 1000003 * 1000033"),
        ("primes_pipeline.py", "1,229 primes and 8,771 others"),
        ("volume.py", "the ball in 5 dimensions has 5.263789014"),
        # "celery_chord.py" wants workers: tests/engines/test_celery.py
    ],
)
def test_the_examples_run(name: str, says: str, tmp_path: Path) -> None:
    environment = {**os.environ, "OCHE_STATE_DIR": str(tmp_path)}
    command = [sys.executable, str(ROOT / "examples" / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout


def test_every_example_is_run_here() -> None:
    written = (ROOT / "tests" / "test_documents.py").read_text()
    assert [path.name for path in (ROOT / "examples").glob("*.py") if f'"{path.name}"' not in written] == []


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed: apt install make")
def test_the_make_targets_of_the_readme_exist() -> None:
    for line in blocks("README.md", "sh")[0].splitlines():
        command = line.partition("#")[0].split()
        assert command[0] == "make"
        assert subprocess.run(["make", "-n", command[1]], cwd=ROOT, capture_output=True, check=False).returncode == 0


def test_the_cluster_of_the_readme_works(tmp_path: Path) -> None:
    lines = [line.partition("#")[0].strip() for line in blocks("README.md", "sh")[1].splitlines()]
    assert [line.split()[0] for line in lines] == ["beanstalkd", "oche", "oche", "oche"]
    farm = Farm("beanstalkd", tmp_path)
    try:
        outputs = []
        for line in lines[1:]:
            command = line.rstrip("& ").replace("beanstalkd://127.0.0.1", farm.url).replace("1e10", "1e7").split()
            arguments = command[1:]
            if arguments[0] == "worker":
                assert arguments[1] == farm.url
                farm.worker(*arguments[2:])
                continue
            done = subprocess.run(
                [sys.executable, "-m", "oche.cli.main", *arguments],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            outputs.append(done.stdout)
    finally:
        farm.close()
    assert f"{oche.pi(10**7).inside:,}" in outputs[0]
    assert "oche.work" in outputs[1]


def test_the_messages_of_the_protocol_are_messages() -> None:
    job, outcome = blocks("docs/protocol.md", "json")
    decoded = decode_job(job.encode())
    assert len(decode_calls(decoded.calls, trusted=False)) == decoded.count
    answer = decode_outcome(outcome.encode())
    assert len(decode_values(answer.values, trusted=False)) == answer.count


def test_the_documents_build(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install 'oche[test]'")
    command = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr


def test_the_table_of_values_is_the_codec_s_own() -> None:
    import oche.wire.codec

    table = [line for line in (oche.wire.codec.__doc__ or "").splitlines() if line.startswith("| ")]
    assert len(table) > 20
    written = (ROOT / "docs/protocol.md").read_text().splitlines()
    assert [line for line in table if line not in written] == []
