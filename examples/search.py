"""A search that stops as soon as it has found: the smallest factor of a number. `python examples/search.py [N]`."""

import functools
import math
import sys

import oche


def factor_in(lo: int, hi: int, *, number: int) -> int | None:
    """The smallest factor of `number` in lo .. hi - 1; gives up when it is told to stop."""
    for candidate in range(max(2, lo), hi):
        if number % candidate == 0:
            return candidate
        if candidate % 1000 == 0 and oche.stopping():
            return None
    return None


def main() -> None:
    """Prints the factor; the pieces above it are called off while they run."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_003 * 1_000_033
    with oche.connect() as cluster:
        found = cluster.first(functools.partial(factor_in, number=number), range(2, math.isqrt(number) + 1))
    print(f"{number} = {found} * {number // found}" if found else f"{number} is prime")


if __name__ == "__main__":
    main()
