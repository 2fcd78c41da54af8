"""Codes of numbers: in numpy's order, one to one, and back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oche.kernels.codes import CHUNK, decode, encode, has_codes

KINDS = ["u4", "u8", "i4", "i8", "f4", "f8", "m8[s]", "M8[ns]", ">i4", ">f8", ">M8[D]"]
#: Bits that are special in one kind or another: zeros, infinities, NaNs of both signs, NaT, the ends.
SPECIAL = [
    np.array(values, dtype).view(f"u{np.dtype(dtype).itemsize}").tolist()
    for dtype in ("f4", "f8")
    for values in ([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 5e-324, -5e-324, 1.0, -1.0],)
]
edges = st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**63, 2**63 + 1, 2**64 - 1, *itertools.chain(*SPECIAL)])
patterns = st.lists(st.one_of(edges, st.integers(0, 2**64 - 1)), min_size=1, max_size=40)


def values_of(bits, kind):
    dtype = np.dtype(kind)
    narrow = np.array([word % 2 ** (8 * dtype.itemsize) for word in bits], f"u{dtype.itemsize}")
    return narrow.view(dtype.newbyteorder("=")).astype(dtype)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=60)
@given(patterns)
def test_codes_are_one_to_one_and_ascend_with_the_values(kind, bits):
    values = values_of(bits, kind)
    codes = encode(values)
    assert codes.dtype == np.uint64
    back = decode(codes, values.dtype)
    assert back.tobytes() == values.astype(back.dtype).tobytes()
    by_code = values[np.argsort(codes, kind="stable")]
    assert np.array_equal(by_code, np.sort(values), equal_nan=True)
    assert len(np.unique(codes)) == len(np.unique(values.view(f"u{values.dtype.itemsize}")))


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=60)
@given(patterns)
def test_merged_codes_are_equal_where_values_are(kind, bits):
    values = values_of(bits, kind)
    codes = encode(values, merged=True)
    assert np.array_equal(np.argsort(codes, kind="stable"), np.argsort(values, kind="stable"))


def test_arrays_longer_than_a_chunk_and_views_with_steps():
    values = np.random.default_rng(1).standard_normal(2 * CHUNK + 3)
    assert np.array_equal(decode(encode(values), values.dtype), values)
    assert np.array_equal(decode(encode(values[::-2]), values.dtype), values[::-2])


@pytest.mark.parametrize(
    ("kind", "coded"), [("f8", True), ("<u4", True), ("f2", False), ("i1", False), ("?", False), ("g", False),
                        ("c8", False), ("S8", False), ("V8", False)],
)  # fmt: skip
def test_which_kinds_have_codes(kind, coded):
    assert has_codes(np.dtype(kind)) is coded
