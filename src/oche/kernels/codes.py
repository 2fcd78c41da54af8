"""Numbers as unsigned integers in the same order, so that one kernel sorts them all.

A number's bits become its code by `(bits ^ (signs & mask) ^ flip) - turn`; `signs` is all ones if the highest is set:

    unsigned    as it is
    signed      highest bit flipped: negative numbers come first
    times       the same, turned by one: NaT, the lowest of all, becomes the highest
    floats      all bits of negative numbers flipped; turned so that NaNs with their sign set come after the others

Codes of floats are a total order, one to one: -0.0 is just below 0.0, and NaNs are told apart by their bits. (The
trick for floats is well known; see Knuth, The Art of Computer Programming 3, 5.2.5, on radix sorting.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from oche.kernels.stopping import Array

#: Numbers that are turned at a time: their steps stay in a near cache.
CHUNK = 2**13
#: Bits of the fraction of a float, by its bytes.
FRACTION = {4: 23, 8: 52}


def has_codes(dtype: np.dtype[Any]) -> bool:
    """Whether numbers of this kind have codes: of 4 and 8 bytes only, as numpy sorts short ones in linear time."""
    return dtype.kind in "uifmM" and dtype.itemsize in (4, 8)


def encode(values: Array, *, merged: bool = False) -> Array:
    """Codes (uint64) of a 1-D array; `merged`: equal values have equal codes, so all zeros one and all NaNs one."""
    native = values.dtype.newbyteorder("=")
    mask, flip, turn = _turns(native)
    one, top = mask.dtype.type(1), 2 ** (8 * native.itemsize - 1)
    codes = np.empty(values.size, np.uint64)
    for lo in range(0, values.size, CHUNK):
        chunk = np.ascontiguousarray(values[lo : lo + CHUNK], native)
        bits = chunk.view(f"u{native.itemsize}")
        turned = _signs(bits)
        turned &= mask
        turned ^= bits
        turned ^= flip
        turned -= turn
        if merged and native.kind == "f":
            turned[turned == flip - turn - one] = flip - turn  # -0.0 and 0.0
            np.minimum(turned, bits.dtype.type(2 * (top - int(turn))), out=turned)  # the first NaN, just above infinity
        codes[lo : lo + CHUNK] = turned
    return codes


def decode(codes: Array, dtype: np.dtype[Any]) -> Array:
    """The values (of native byte order) that have these codes."""
    native = dtype.newbyteorder("=")
    mask, flip, turn = _turns(native)
    values = np.empty(codes.size, native)
    for lo in range(0, codes.size, CHUNK):
        bits = values[lo : lo + CHUNK].view(f"u{native.itemsize}")
        bits[:] = codes[lo : lo + CHUNK]
        bits += turn
        bits ^= flip
        signs = _signs(bits)
        signs &= mask
        bits ^= signs
    return values


def _turns(dtype: np.dtype[Any]) -> tuple[Any, Any, Any]:
    unsigned = np.dtype(f"u{dtype.itemsize}").type
    top = 2 ** (8 * dtype.itemsize - 1)
    mask, flip, turn = {
        "u": (0, 0, 0),
        "i": (0, top, 0),
        "m": (0, top, 1),
        "M": (0, top, 1),
        "f": (top - 1, top, 2 ** FRACTION.get(dtype.itemsize, 0) - 1),
    }[dtype.kind]
    return unsigned(mask), unsigned(flip), unsigned(turn)


def _signs(bits: Array) -> Array:
    return (bits.view(f"i{bits.itemsize}") >> (8 * bits.itemsize - 1)).view(bits.dtype)
