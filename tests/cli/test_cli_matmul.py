"""`oche matmul`: products of files and of random matrices, checked."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from cli_shell import Shell

from farms import Farm
from oche.algorithms.linalg import matmul
from oche.cli.main import main
from oche.cli.matmul import verdict


@pytest.fixture
def files(shell: Shell) -> tuple[np.ndarray, np.ndarray]:
    """a.npy and b.npy in the shell's folder."""
    rng = np.random.default_rng(13)
    a, b = rng.integers(-(2**62), 2**62, (30, 20)), rng.integers(-(2**62), 2**62, (20, 10))
    np.save(shell.folder / "a.npy", np.asfortranarray(a))
    np.save(shell.folder / "b.npy", b)
    return a, b


def test_files_are_multiplied_on_every_engine(shell: Shell, farm: Farm, files: tuple[np.ndarray, np.ndarray]) -> None:
    farm.worker("--slots", "2")
    a, b = files
    done = shell.run("matmul", "a.npy", "b.npy", "-o", "c.npy", "--on", farm.url)
    assert done.stdout.startswith("30 x 20 times 20 x 10, int64\n")
    assert done.stdout.endswith("Gflop/s\nchecked by Freivalds' test: exact\n")
    assert done.stderr == ""
    np.testing.assert_array_equal(np.load(shell.folder / "c.npy"), a @ b)
    assert not list(shell.folder.glob("*.part"))


def test_random_matrices_of_a_size_are_the_same_for_a_seed(shell: Shell) -> None:
    found = json.loads(
        shell.run("matmul", "--size", "300", "--seed", "5", "--workers", "2", "-o", "c.npy", "--json").stdout
    )
    assert (found["shape"], found["dtype"], found["seed"]) == ([300, 300, 300], "float64", 5)
    assert found["gflops"] == pytest.approx(2 * 300**3 / found["seconds"] / 1e9)
    assert 0 <= found["rounding_used"] <= 1
    rng = np.random.default_rng(5)
    a, b = rng.random((300, 300)), rng.random((300, 300))
    assert np.load(shell.folder / "c.npy").tobytes() == matmul(a, b).tobytes()


def test_the_output_may_be_an_input(shell: Shell, files: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = files
    shell.run("matmul", "a.npy", "b.npy", "-o", "a.npy", "--workers", "1", "--quiet")
    np.testing.assert_array_equal(np.load(shell.folder / "a.npy"), a @ b)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "matmul takes two files"),
        (["a.npy"], "matmul takes two files"),
        (["a.npy", "b.npy", "--size", "3"], "or --size N"),
        (["--size", "0"], "take 1 or more"),
        (["--size", "3", "--seed", "-1"], "--seed -1 is below 0"),
        (["--size", "3", "-o", "nowhere/c.npy"], "nowhere/c.npy cannot be made"),
        (["--size", "3", "-o", "folder"], "folder is a folder; name a file"),
        (["none.npy", "b.npy"], "none.npy cannot be read: No such file"),
        (["text.npy", "b.npy"], "text.npy is no .npy file"),
        (["cut.npy", "b.npy"], "cut.npy is no .npy file"),
        (["objects.npy", "b.npy"], "objects.npy is no .npy file"),
        (["a.npy", "a.npy"], r"(30, 20) times (30, 20) is no product"),
        (["vector.npy", "a.npy"], "a has 1 dimensions"),
    ],
)
@pytest.mark.usefixtures("files")
def test_what_is_wrong_is_told(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    monkeypatch.chdir(shell.folder)
    Path("folder").mkdir()
    Path("text.npy").write_text("1 2 3")
    Path("cut.npy").write_bytes(Path("a.npy").read_bytes()[:-8])
    np.save("objects.npy", np.array([[None]]))
    np.save("vector.npy", np.ones(3))
    assert main(["matmul", *arguments]) == 2
    told = capsys.readouterr()
    assert reason in told.err
    assert told.out == ""


def test_words_for_what_the_test_found() -> None:
    assert verdict(0.0) == "checked by Freivalds' test: exact"
    assert verdict(0.0123) == "checked by Freivalds' test: 1.2% of the rounding that is allowed"
    assert verdict(1.01).startswith("WRONG")
    assert verdict(math.inf).startswith("WRONG")
    assert verdict(math.nan) == "not checked: the product is not finite"
