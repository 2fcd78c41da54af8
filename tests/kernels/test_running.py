"""The compiled running sums against their plain twins, and against numpy, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oche.kernels.running import running, running_plain, total, total_plain

KINDS = [np.float32, np.float64]
floats = st.floats(width=32)


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
@settings(deadline=None, max_examples=200)
@given(st.lists(floats, min_size=1, max_size=30), st.one_of(st.just(-0.0), floats), st.sampled_from(KINDS))
def test_kernels_do_what_the_twins_do(items, before, kind):
    values, before = np.array(items, kind), kind(before)
    assert total(values).tobytes() == total_plain(values).tobytes() or np.isnan(total_plain(values))
    found, wanted = np.empty(values.size, kind), np.empty(values.size, kind)
    sums = np.array([running(values, before, found), running_plain(values, before, wanted), total(values)], kind)
    assert len({*map(bytes, sums)}) == 1 or np.isnan(sums).all()
    assert np.array_equal(found, wanted, equal_nan=True)
    assert (np.signbit(found) == np.signbit(wanted))[~np.isnan(found)].all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [1, -3, 7])
def test_the_bits_of_cumsum_for_any_strides(kind, step):
    values = np.random.default_rng(0).normal(size=10_000).astype(kind)[::step]
    values.flags.writeable = False
    out = np.empty(values.size, kind)
    running(values, kind(-0.0), out)
    assert out.tobytes() == np.cumsum(values).tobytes()
    assert type(total(values)) is kind
    assert total(values) == out[-1]


def test_nothing_before_leaves_the_sign_of_zero():
    out = np.empty(2)
    running(np.array([-0.0, -0.0]), -0.0, out)
    assert np.signbit(out).all()
