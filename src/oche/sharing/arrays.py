"""Numpy arrays in memory that processes share.

    with SharedArray.create((1000, 1000), np.float64) as shared:
        shared.array[...] = 42                     # an ordinary ndarray
        process = Process(target=work, args=(shared,))

What is shared is a file in .npy format, in memory only: `numpy.load(f"/proc/{pid}/fd/{fd}", mmap_mode="r")` reads it
in a program that knows nothing of oche.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike

from oche.errors import ConfigError, StoreError, StoreFull, ValueLost
from oche.sharing.memory import Memory
from oche.stores.arrays import check_dtype, describe

Array: TypeAlias = "np.ndarray[Any, Any]"

#: Bytes that the header of an array may have, which describes its dtype: one of thousands of fields fits.
HEADER = 2**20


class SharedArray:
    """An array that all processes see that have this object, by pickle, by fork or by name. C-contiguous.

    Views of `array` stay valid after `close`; the memory is freed with the last of them, in whatever process.
    """

    def __init__(self, memory: Memory) -> None:
        """What is in this memory; for other processes. Users call `create`, `of` or `attach`."""
        self._memory = memory
        mapped = _mapped(memory)
        self._start = int(mapped.offset)  # of the items, after the header
        self._array: Array | None = mapped.view(np.ndarray)

    @classmethod
    def create(cls, shape: int | Sequence[int], dtype: DTypeLike = np.float64) -> Self:
        """An array of zeros.

        Raises `ConfigError` for a shape that cannot be and for dtypes without bytes of their own (Python objects),
        `StoreFull`, before anything is written, where the machine has no room for it.
        """
        kind = np.dtype(dtype)
        check_dtype(kind)
        describe(kind)
        sides = _sides(shape)
        memory = Memory.create(math.prod(sides) * kind.itemsize)
        try:
            # Version 3.0 of the format holds every dtype.
            npy.open_memmap(f"/proc/self/fd/{memory.fd}", "w+", kind, sides, version=(3, 0))
        except (ValueError, OverflowError) as error:
            memory.close()
            raise ConfigError(f"there is no array of shape {sides}: {error}; take fewer or shorter sides") from error
        except OSError as error:
            memory.close()
            raise StoreFull(f"no room for {sides} items of {kind}: {error}; take less, or see ulimit -a") from error
        return cls(memory)

    @classmethod
    def of(cls, array: Array) -> Self:
        """A copy of the array. Raises as `create` does."""
        source = np.asarray(array)
        shared = cls.create(source.shape, source.dtype)
        shared.array[...] = source
        return shared

    @classmethod
    def attach(cls, name: str, *, readonly: bool = False) -> Self:
        """The array that another process of this user has under this name. Raises `ValueLost` if it is gone."""
        return cls(Memory.attach(name, readonly))

    @property
    def name(self) -> str:
        """For `attach`, as long as this process has this object open."""
        self._check_open()
        return self._memory.name

    @property
    def readonly(self) -> bool:
        """Whether `array` can only be read; a copy by pickle inherits that."""
        return self._memory.readonly

    @property
    def array(self) -> Array:
        """The array itself: what is written here, others see."""
        self._check_open()
        assert self._array is not None
        return self._array

    def part(self, lo: int, hi: int) -> Array:
        """Items lo .. hi - 1 of the flat array, writable, their memory made ready in one go: for filling a part."""
        flat = self.array.reshape(-1)
        if self.readonly or not 0 <= lo <= hi <= flat.size:
            raise ConfigError(f"items {lo} .. {hi} of {self!r} cannot be written: take some of 0 .. {flat.size}")
        if lo == hi:
            return flat[lo:hi]
        start = self._start + lo * flat.itemsize
        return np.frombuffer(self._memory.map_part(start, (hi - lo) * flat.itemsize), flat.dtype)

    def close(self) -> None:
        """This process needs it no more; others keep it, and so do views. May be called twice."""
        self._array = None
        self._memory.close()

    def _check_open(self) -> None:
        if self._array is None:
            raise ValueLost("this SharedArray was closed here; attach to it again, or keep a view of its array")

    def __reduce__(self) -> tuple[type[SharedArray], tuple[Memory]]:
        self._check_open()
        return type(self), (self._memory,)

    def __repr__(self) -> str:
        if self._array is None:
            return "SharedArray(closed)"
        kind = ", readonly" if self.readonly else ""
        return f"SharedArray({self._array.shape}, {self._array.dtype}{kind})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _mapped(memory: Memory) -> Any:
    """A numpy.memmap of it."""
    mode: Any = "r" if memory.readonly else "r+"
    try:
        return npy.open_memmap(f"/proc/self/fd/{memory.fd}", mode, max_header_size=HEADER)
    except (OSError, ValueError) as error:
        memory.close()
        raise StoreError(f"this memory cannot be mapped as an array: {error}; is its name that of an array?") from error


def _sides(shape: int | Sequence[int]) -> tuple[int, ...]:
    try:
        sides = tuple(operator.index(side) for side in (shape if isinstance(shape, Sequence) else (shape,)))
    except TypeError as error:
        raise ConfigError(f"shape {shape!r} is not whole numbers; take an int or a tuple of them") from error
    if any(side < 0 for side in sides):
        raise ConfigError(f"shape {shape!r} has a negative side; take numbers from 0 on")
    return sides
