"""The compiled numbers against numpy's own and against the plain twin, wherever they begin and end."""

from __future__ import annotations

from concurrent.futures import CancelledError

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oche.errors import ConfigError
from oche.kernels.philox64 import SLICE, fill, fill_plain, philox4x64

KINDS = [np.float64, np.float32]
kinds = st.sampled_from(KINDS)
words = st.integers(0, 2**64 - 1)


def key_of(seed: int) -> tuple[int, int]:
    k0, k1 = np.random.Philox(seed).state["state"]["key"].tolist()
    return k0, k1


@settings(deadline=None)
@given(st.integers(0, 2**64 - 2), words, words)
@example(0, 0, 0)
def test_a_counter_makes_the_words_that_numpy_makes(counter, k0, k1):
    theirs = np.random.Philox(
        counter=np.array([counter, 0, 0, 0], np.uint64), key=np.array([k0, k1], np.uint64)
    ).random_raw(4)  # numpy counts up first
    assert philox4x64(counter + 1, (k0, k1)) == tuple(theirs.tolist())


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**70), st.integers(0, 300), st.integers(0, 100), kinds)
@example(0, 0, 0, np.float64)
def test_any_part_is_that_of_numpy_and_of_the_twin(seed, first, size, kind):
    whole = np.random.Generator(np.random.Philox(seed)).random(first + size, dtype=kind)
    for filling in (fill, fill_plain):
        out = np.full(size, 2, kind)
        filling(out, first, key_of(seed))
        assert out.tobytes() == whole[first:].tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_across_slices(kind):
    size = 2 * SLICE + 13
    out = np.empty(size, kind)
    fill(out, 3, key_of(5))
    assert (out == np.random.Generator(np.random.Philox(5)).random(size + 3, dtype=kind)[3:]).all()


@settings(deadline=None)
@given(st.integers(0, 2**63 - 1), kinds, words)
@example(2**63 - 1, np.float64, 1)
@example(2**63 - 8, np.float32, 1)
def test_far_out(first, kind, seed):
    mine, twin = np.empty(21, kind), np.empty(21, kind)
    fill(mine, first, key_of(seed))
    fill_plain(twin, first, key_of(seed))
    assert mine.tobytes() == twin.tobytes()
    per = {8: 4, 4: 8}[kind().itemsize]
    stream = np.random.Philox(seed)
    stream.advance(first // per)
    theirs = np.random.Generator(stream).random(21 + per, dtype=kind)
    assert mine.tobytes() == theirs[first % per :][:21].tobytes()


def test_it_looks_at_the_stop_byte():
    class Countdown:
        looks = 0

        def __getitem__(self, index: int) -> int:
            self.looks += 1
            return self.looks == 3

    out, stop = np.full(10 * SLICE, 2.0), Countdown()
    with pytest.raises(CancelledError, match=f"before number {2 * SLICE} "):
        fill(out, 0, key_of(1), stop)
    assert (out[: 2 * SLICE] < 1).all()
    assert (out[2 * SLICE :] == 2).all()


@pytest.mark.parametrize("filling", [fill, fill_plain])
def test_what_cannot_be_filled_is_refused(filling):
    frozen = np.zeros(8)
    frozen.flags.writeable = False
    crooked = np.frombuffer(bytearray(65), np.uint8)[1:].view(np.float64)
    wrong = [np.zeros(8, int), np.zeros((2, 4)), np.zeros(16)[::2], frozen, crooked, np.zeros(8, ">f8"), np.zeros(())]
    for out in wrong:
        with pytest.raises(ConfigError, match="cannot be filled"):
            filling(out, 0, (1, 2))
    for first in (-1, 2**63):
        with pytest.raises(ConfigError, match="cannot be drawn"):
            filling(np.zeros(8), first, (1, 2))
