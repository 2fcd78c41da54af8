"""The compiled points against their plain twin, and as even as points should be."""

from __future__ import annotations

import hashlib
import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oche.errors import ConfigError
from oche.kernels.philox import key_of, philox4x32
from oche.kernels.uniforms import MOST, room_for, uniforms, uniforms_plain

EDGES = [0, 2**16, 2**33, 3 * 2**33, 2**53, 10**15, MOST]
UNIT = (0.0, 1.0)
seeds = st.integers(0, 2**64 - 1)
numbers = st.floats(-1e100, 1e100, allow_nan=False)
boxes = st.lists(st.tuples(numbers, numbers).filter(lambda ends: ends[0] < ends[1]), min_size=1, max_size=5)


@st.composite
def ranges(draw):
    """Short ranges, most of them near or across an edge."""
    near = draw(st.sampled_from(EDGES)) + draw(st.integers(-40, 40))
    lo = min(max(draw(st.one_of(st.just(near), st.integers(0, MOST))), 0), MOST)
    return lo, min(lo + draw(st.integers(0, 60)), MOST)


@settings(deadline=None, max_examples=150)
@given(ranges(), seeds, boxes)
@example((0, 0), 0, [UNIT])
@example((7, 8), 1, [UNIT, UNIT, UNIT])
@example((2**33 - 21, 2**33 + 20), 2**64 - 1, [(-1.0, 1.0)])
@example((MOST - 30, MOST), 3, [UNIT, (-1.0, 3.0)])
@example((0, 50), 5, [(-1e16, 1e-9)])
@example((0, 50), 5, [(5e-324, 1e-323)])
def test_kernel_makes_what_the_twin_makes(span, seed, box):
    made = uniforms(*span, seed, box)
    assert made.shape == (span[1] - span[0], len(box))
    assert all(made[:, k].flags.c_contiguous for k in range(len(box)))
    assert made.tobytes() == uniforms_plain(*span, seed, box).tobytes()
    for (lower, upper), place in zip(box, made.T, strict=True):
        assert ((lower <= place) & (place <= upper)).all()


def test_the_mapping_is_that_of_the_docstring():
    b, seed, d = 2**32 + 5, 2**33 + 7, 3
    even, odd = [], []
    for j in range(d):
        w0, w1, w2, w3 = philox4x32((5, 1, j, 1), key_of(seed))
        even.append((2 * ((w0 * 2**32 + w1) // 2**12) + 1) / 2**53)
        odd.append((2 * ((w2 * 2**32 + w3) // 2**12) + 1) / 2**53)
    assert uniforms(2 * b, 2 * b + 2, seed, [UNIT] * d).tolist() == [even, odd]


def test_pinned():
    """If these change, points lie elsewhere: say so loudly in the changelog."""
    assert uniforms(0, 2, 0, [UNIT, (-1.0, 1.0)]).tolist() == [
        [0.17893146841678098, 0.741124839316581],
        [0.9881725862237817, 0.8806464762622144],
    ]
    # The twin makes the same, in two seconds.
    digest = hashlib.sha256(uniforms(10**12, 10**12 + 10**5, 1, [UNIT] * 3).tobytes()).hexdigest()
    assert digest[:16] == "da30121d8fd44c23"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 300), max_size=4), st.integers(1, 5))
def test_pieces_are_parts_of_the_whole(cuts, d):
    lo, hi = 2**33 - 150, 2**33 + 150
    whole = uniforms(lo, hi, 9, [UNIT] * d)
    ends = sorted({lo, hi, *(lo + cut for cut in cuts)})
    parts = [uniforms(a, b, 9, [UNIT] * d) for a, b in itertools.pairwise(ends)]
    assert np.concatenate(parts).tolist() == whole.tolist()


def test_a_coordinate_does_not_depend_on_how_many_there_are():
    cube = uniforms(100, 200, 4, [UNIT] * 5)
    for d in range(1, 5):
        assert uniforms(100, 200, 4, [UNIT] * d).tolist() == cube[:, :d].tolist()


@pytest.mark.parametrize("d", [1, 2, 3])
def test_room_is_used_and_need_not_be_clean(d):
    room = np.full(room_for(100, d) + 3, np.nan)
    made = uniforms(0, 100, 1, [UNIT] * d, room)
    assert np.shares_memory(made, room)
    assert made.tolist() == uniforms(0, 100, 1, [UNIT] * d).tolist()
    assert uniforms(100, 150, 1, [UNIT] * d, room).tolist() == uniforms(100, 150, 1, [UNIT] * d).tolist()


def test_numbers_are_odd_and_never_reach_an_end():
    """Each is an odd multiple of 2**-53: the middle of a cell."""
    scaled = uniforms(0, 10**5, 0, [UNIT])[:, 0] * 2.0**53
    assert (scaled % 2 == 1).all()
    assert scaled.min() >= 1
    assert scaled.max() <= 2**53 - 1


def correlation(a, b):
    return float(((a - 0.5) * (b - 0.5)).mean() * 12)


def test_neighbours_know_nothing_of_each_other():
    n = 2**18
    bound = 4.5 / math.sqrt(n)
    here, there = uniforms(0, n, 7, [UNIT] * 4), uniforms(0, n, 8, [UNIT] * 4)
    far = uniforms(2**40, 2**40 + n, 7, [UNIT] * 4)
    pairs = {f"coordinates {a}, {b}": (here[:, a], here[:, b]) for a, b in itertools.combinations(range(4), 2)}
    pairs |= {f"seeds, coordinates {a}, {b}": (here[:, a], there[:, b]) for a in range(4) for b in range(4)}
    pairs |= {f"lag {lag}": (here[lag:, 0], here[:-lag, 0]) for lag in (1, 2, 3, 64)}
    pairs["far away"] = here[:, 0], far[:, 0]
    for what, (a, b) in pairs.items():
        assert abs(correlation(a, b)) < bound, what
        assert abs(correlation(2 * abs(a - 0.5), 2 * abs(b - 0.5))) < bound, f"{what}, folded"


def test_points_fill_the_square_evenly():
    n, side = 2**20, 32
    for seed in (0, 1, 2**64 - 1):
        x = (uniforms(0, n, seed, [UNIT, UNIT]) * side).astype(int)
        found = np.bincount(x[:, 0] * side + x[:, 1], minlength=side * side)
        expected = n / side**2
        chi2 = float(((found - expected) ** 2 / expected).sum())  # 1023 degrees of freedom: deviation 45
        assert abs(chi2 - 1023) < 4.5 * 45.2, (seed, chi2)
    low = (uniforms(0, n, 3, [UNIT])[:, 0] * 2.0**53 / 2 % 256).astype(int)  # bits that only a second word has
    chi2 = float(((np.bincount(low, minlength=256) - n / 256) ** 2 / (n / 256)).sum())
    assert abs(chi2 - 255) < 4.5 * 22.6, chi2


@pytest.mark.parametrize("make", [uniforms, uniforms_plain])
@pytest.mark.parametrize(("lo", "hi", "seed"), [(-1, 5, 0), (5, 4, 0), (0, MOST + 1, 0), (0, 1, -1), (0, 1, 2**64)])
def test_what_cannot_be_made_is_refused(make, lo, hi, seed):
    with pytest.raises(ConfigError):
        make(lo, hi, seed, [UNIT])
