"""`oche rank`: a list from a file or by lot, ranked, checked and written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cli_shell import Shell

from farms import Farm
from oche.kernels.links import ranks_plain


def test_a_file_is_ranked_checked_and_written(shell: Shell) -> None:
    links = np.array([3, 4, 2, -1, 0])
    np.save(shell.folder / "list.npy", links)
    done = shell.run("rank", "list.npy", "-o", "ranks", "--workers", "1")
    assert done.stdout.startswith("5 nodes in 2 lists, the longest of 4: ranks\n")
    assert "checked: every rank is one more than the next node's" in done.stdout
    assert done.stderr == ""
    assert np.load(shell.folder / "ranks").tolist() == ranks_plain(links) == [1, 3, 0, 0, 2]


@pytest.mark.parametrize("farm", ["sqlite"], indirect=True)
def test_a_random_list_is_the_same_on_another_engine(shell: Shell, farm: Farm) -> None:
    farm.worker("--slots", "2")
    size = ("rank", "--size", "2.2e6", "--seed", "7", "--json", "--output")
    here = json.loads(shell.run(*size, "here.npy", "--workers", "2").stdout)
    there = json.loads(shell.run(*size, "there.npy", OCHE_URL=farm.url).stdout)
    assert here["wrong"] == there["wrong"] == 0
    assert (here["nodes"], here["lists"], here["longest"]) == (2_200_000, 1, 2_200_000)
    assert here["links_per_second"] > 0
    assert (shell.folder / "here.npy").read_bytes() == (shell.folder / "there.npy").read_bytes()


def test_what_cannot_be_ranked_is_said(shell: Shell) -> None:
    np.save(shell.folder / "cycle.npy", [1, 0])
    for arguments, text in (
        (("cycle.npy", "--workers", "1"), "node 0 is on a cycle"),
        (("cycle.npy", "--size", "5"), "give either a FILE.npy or --size N"),
        (("--size", "5", "--seed", "-1"), "seed -1"),
        (("--size", "5", "-o", "nowhere/ranks.npy"), "takes no files"),
    ):
        assert text in shell.run("rank", *arguments, code=2).stderr
