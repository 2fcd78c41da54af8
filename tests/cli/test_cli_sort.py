"""`oche sort`: a sorted file beside the file, or where one says."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cli_shell import Shell

from farms import Farm


def test_a_file_is_sorted_into_the_one_beside_it(shell: Shell) -> None:
    keys = np.random.default_rng(5).standard_normal(200_000)
    np.save(shell.folder / "keys.npy", keys)
    done = shell.run("sort", "keys.npy", "--workers", "2")
    first, second = done.stdout.splitlines()
    assert first == "200,000 keys, float64: keys.sorted.npy"
    assert "million keys/s" in second
    assert done.stderr == ""
    assert np.array_equal(np.load(shell.folder / "keys.sorted.npy"), np.sort(keys))
    assert np.array_equal(np.load(shell.folder / "keys.npy"), keys)
    assert {path.suffix for path in shell.folder.iterdir()} == {".npy", ".py"}


@pytest.mark.parametrize("farm", ["sqlite"], indirect=True)
def test_on_a_broker_in_place_by_fields(shell: Shell, farm: Farm) -> None:
    farm.worker("--slots", "2")
    rng = np.random.default_rng(6)
    people = np.zeros(5000, [("name", "U8"), ("age", "i4"), ("score", "f8")])
    people["name"], people["age"] = rng.integers(0, 99, 5000), rng.integers(0, 9, 5000)
    people["score"] = rng.choice([0.0, -0.0, np.nan, 1.5], 5000)
    path = shell.folder / "people.npy"
    np.save(path, people)
    done = shell.run(
        "sort", str(path), "-o", str(path), "--order", "age", "--order", "score", "--json", OCHE_URL=farm.url
    )
    told = json.loads(done.stdout)
    assert (told["n"], told["output"]) == (5000, str(path))
    assert told["keys_per_second"] == pytest.approx(5000 / told["seconds"])
    assert np.load(path).tobytes() == np.sort(people, order=["age", "score"], kind="stable").tobytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.npy"], "nothing.npy cannot be read: No such file"),
        (["work.py"], "work.py is no .npy file"),
        (["square.npy"], "an array of 2 dimensions has no one order"),
        (["objects.npy"], "is no .npy file that can be mapped"),
        (["keys.npy", "--order", "age"], "order names 'age', no field of the array"),
        (["keys.npy", "-o", "nowhere/keys.npy"], "nowhere takes no files; name another folder"),
        (["keys.npy", "-o", "."], "is a folder; name a file"),
    ],
)
def test_what_cannot_be_sorted_is_refused(shell: Shell, arguments: list[str], message: str) -> None:
    np.save(shell.folder / "keys.npy", np.arange(3.0))
    np.save(shell.folder / "square.npy", np.zeros((2, 2)))
    np.save(shell.folder / "objects.npy", np.array([1, "x", None]), allow_pickle=True)
    done = shell.run("sort", *arguments, "--workers", "1", code=2)
    assert message in done.stderr
    assert done.stdout == ""


def test_no_keys_and_one_key_are_sorted_too(shell: Shell) -> None:
    for n in (0, 1):
        np.save(shell.folder / "few.npy", np.arange(n))
        shell.run("sort", "few.npy", "-q", "--workers", "1")
        assert np.load(shell.folder / "few.sorted.npy").tolist() == list(range(n))


def test_a_full_disk_leaves_the_output_as_it_was(shell: Shell) -> None:
    np.save(shell.folder / "keys.npy", np.arange(3.0)[::-1])
    (shell.folder / "out.npy.part").mkdir()  # stands for any reason why the file cannot be written
    done = shell.run("sort", "keys.npy", "-o", "out.npy", "--workers", "1", code=2)
    assert "out.npy cannot be written: Is a directory; name another file" in done.stderr
    assert not (shell.folder / "out.npy").exists()
