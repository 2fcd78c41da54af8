"""Philox4x32-10 against the known answers that its authors publish with Random123."""

from __future__ import annotations

import pytest

from oche.errors import ConfigError
from oche.kernels.philox import key_of, philox4x32

KNOWN = [  # counter, key, answer: kat_vectors of Random123
    (
        (0x00000000, 0x00000000, 0x00000000, 0x00000000),
        (0x00000000, 0x00000000),
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ),
    (
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers(counter, key, answer):
    assert philox4x32(counter, key) == answer


def test_words_are_spread_evenly():
    # 16 bins for the upper bits of each of the four words: chi^2 with 15 degrees of freedom each.
    blocks = 4096
    bins = [[0] * 16 for _ in range(4)]
    for block in range(blocks):
        for place, word in enumerate(philox4x32((block, 0, 0, 0), (1, 0))):
            bins[place][word >> 28] += 1
    expected = blocks / 16
    for place, found in enumerate(bins):
        chi2 = sum((have - expected) ** 2 / expected for have in found)
        assert 3.0 < chi2 < 45.0, (place, chi2)  # outside: 1 in 5,000 each


def test_every_seed_has_a_key_of_its_own():
    assert key_of(0) == (0, 0)
    assert key_of(2**32) == (0, 1)
    assert key_of(2**64 - 1) == (0xFFFFFFFF, 0xFFFFFFFF)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_that_does_not_fit_is_refused(seed):
    with pytest.raises(ConfigError, match=f"seed {seed} "):
        key_of(seed)
