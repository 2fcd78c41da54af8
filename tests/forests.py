"""Forests of all shapes, as arrays of parents."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st


def shuffled(parent, random):
    """The same forest with its nodes renamed by a random permutation; some roots are their own parents."""
    n = len(parent)
    names = random.permutation(n)
    found = np.empty(n, np.int64)
    found[names] = np.where(parent >= 0, names[parent], np.where(random.random(n) < 0.5, -1, names))
    return found


def shapes(n, random):
    """By name, each with its nodes in order, parents first."""
    i = np.arange(n)
    return {
        "random": np.where(i > 0, (random.random(n) * i).astype(np.int64), -1),
        "forest": np.where(i > n // 9, (random.random(n) * i).astype(np.int64), -1),
        "path": i - 1,
        "star": np.where(i > 0, 0, -1),
        "binary": np.where(i > 0, (i - 1) // 2, -1),
        "caterpillar": np.where(i % 2, i - 1, np.maximum(i - 2, -1)),
        "broom": np.where(i < n // 2, i - 1, n // 2 - 1),
        "roots": np.full(n, -1),
    }


@st.composite
def forests(draw, most=300):
    """A shuffled forest of any of these shapes."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    found = shapes(draw(st.integers(1, most)), random)
    return shuffled(found[draw(st.sampled_from(sorted(found)))], random)
