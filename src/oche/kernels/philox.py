"""Philox4x32-10 in plain Python: random words as a pure function of a counter and a key.

Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC11, https://doi.org/10.1145/2063384.2063405.
There is no state and no stream to split: whoever knows an item's index knows its random numbers.
Slow; it is the oracle of the compiled kernels, and the text to read.
"""

from __future__ import annotations

from oche.errors import ConfigError

MASK = 0xFFFFFFFF  #: a word has 32 bits
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)  #: of words 0 and 2
WEYL = (0x9E3779B9, 0xBB67AE85)  #: added to the key after each round: golden ratio, sqrt(3) - 1


def philox4x32(
    counter: tuple[int, int, int, int], key: tuple[int, int], *, rounds: int = 10
) -> tuple[int, int, int, int]:
    """Four random 32-bit words for a counter of four words and a key of two; all words in 0 .. 2**32 - 1."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(rounds):
        high0, low0 = divmod(MULTIPLIERS[0] * c0, 1 << 32)
        high1, low1 = divmod(MULTIPLIERS[1] * c2, 1 << 32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + WEYL[0]) & MASK, (k1 + WEYL[1]) & MASK
    return c0, c1, c2, c3


def key_of(seed: int) -> tuple[int, int]:
    """The key of a seed: its lower and its upper word. Raises `ConfigError` unless 0 <= seed < 2**64.

    A larger seed is refused, not folded: two seeds never share their numbers.
    """
    if not 0 <= seed < 1 << 64:
        raise ConfigError(f"seed {seed} cannot be used: take a whole number from 0 to 2**64 - 1")
    return seed & MASK, seed >> 32
