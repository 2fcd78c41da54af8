"""Words of files: those of one regular expression over the whole text, wherever pieces and chunks end."""

from __future__ import annotations

import multiprocessing
import os
import re
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import oche
from oche.algorithms import words
from oche.algorithms.words import word_count, words_in
from oche.errors import ConfigError

BITS = [
    b"a",
    b"bull",
    b"_1",
    b" ",
    b"\n",
    b"-",
    b"'",
    "é".encode(),
    "日本".encode(),
    "—".encode(),
    b"\xff",
    b"\xe2\x82",
]
BITS += [b"\0", b"\x1c", "\u00a0".encode(), "\u0660".encode(), b"\r\n"]


def counted(data: bytes) -> Counter[str]:
    return Counter(re.findall(r"\w+", data.decode("utf-8", "replace")))


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(BITS), max_size=40).map(b"".join), st.integers(1, 30), st.integers(1, 30))
@example(b"aaaaaaaaaaaaaaaaaaaaaaaaaa b", 3, 2)
@example(b"a b", 2, 1)
@example(b" a", 1, 1)
def test_pieces_and_chunks_of_any_size(tmp_path_factory, data, piece, chunk):
    path = tmp_path_factory.getbasetemp() / "words.txt"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "PIECE", piece)
        patch.setattr(words, "CHUNK", chunk)
        assert word_count([path]) == counted(data)


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    """A file without a line end, in three scripts."""
    path = tmp_path_factory.mktemp("texts") / "text"
    path.write_bytes("".join(f"word{i * i % 977} straße{i % 7}—καί {'日' * (i % 5)}，" for i in range(30_000)).encode())
    return path


@pytest.mark.parametrize("engine", ["local", "processes"])
def test_the_same_on_every_engine(text, engine, monkeypatch):
    monkeypatch.setattr(words, "PIECE", 100_000)
    made = {
        "local": lambda: oche.connect("local:", max_workers=2),
        "processes": lambda: ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")),
    }
    with made[engine]() as cluster:
        found = word_count([text, __file__, text], cluster=cluster)
    assert found == counted(text.read_bytes() * 2 + b" " + Path(__file__).read_bytes())
    assert list(found) == sorted(found)
    assert found == word_count([text, __file__, text])


def test_files_of_a_relative_name_and_without_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty").touch()
    Path("dots").write_bytes(b"... \n")
    Path("one").write_bytes(b"oche")
    assert word_count(["empty", "dots", "one"]) == {"oche": 1}
    assert word_count([]) == {}


def test_a_stretch_as_long_as_the_file_takes_linear_time(tmp_path):
    path = tmp_path / "long"
    path.write_bytes(b"x" * (3 * words.CHUNK + 5))
    assert word_count([path]) == {"x" * (3 * words.CHUNK + 5): 1}


def test_what_cannot_be_read_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, says in (("missing", "No such file"), ("pipe", "no regular file"), (".", "no regular file")):
        with pytest.raises(ConfigError, match=f"{re.escape(str(tmp_path))}.*{says}"):
            word_count([tmp_path / name])
    with pytest.raises(ConfigError, match="give a list"):
        word_count(str(tmp_path))
    with pytest.raises(ConfigError, match=r"cannot read .*gone.* on every worker"):
        list(words_in((str(tmp_path / "gone"), 0, 5)))
