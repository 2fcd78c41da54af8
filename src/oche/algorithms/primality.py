"""Is a number prime? At once, for one number of any size, with nothing but Python's integers."""

from __future__ import annotations

import math
import operator

from oche.errors import ConfigError

#: All primes below 212: most composites are found by these.
SMALL = tuple(n for n in range(2, 212) if all(n % d for d in range(2, math.isqrt(n) + 1)))
#: No composite below 2**64 is a strong pseudoprime to all of these (Jim Sinclair 2011; checked against the list of all
#: pseudoprimes to base 2 below 2**64 by Jan Feitsma and William Galway).
BASES = (2, 325, 9375, 28178, 450775, 9780504, 1795265022)


def is_prime(n: int) -> bool:
    """Whether n is prime; False for 1, 0 and negative numbers.

    Below 2**64 that is certain: trial division by the primes below 212, then Miller's strong test with seven bases.
    From 2**64 on it is the Baillie-PSW test (Baillie and Wagstaff, Lucas pseudoprimes, Math. Comp. 35, 1980;
    Pomerance, Selfridge and Wagstaff, ibid.): a strong test to base 2 and a strong Lucas test with Selfridge's
    parameters. No composite that passes is known, and none is below 2**64; no proof says that there is none at all.

    A microsecond or two for most numbers, some 50 for a prime of 64 bits. Raises `ConfigError` if n is no integer.
    """
    n = integer(n)
    for p in SMALL:
        if n % p == 0:
            return n == p
    if n < 212 * 212:
        return n > 1
    if n < 2**64:
        return all(_strong(n, base) for base in BASES)
    return _strong(n, 2) and _strong_lucas(n)


def integer(n: int) -> int:
    """n, as Python's own integer. Raises `ConfigError` if it is none."""
    try:
        return operator.index(n)
    except TypeError as error:
        raise ConfigError(f"n = {n!r} is no integer; take one, such as 97 or int('97')") from error


def _strong(n: int, base: int) -> bool:
    """Whether odd n passes the strong test: base**d = 1 or base**(d 2**r) = -1 mod n, r < s, with n - 1 = d 2**s."""
    if base % n == 0:
        return True
    s = ((n - 1) & (1 - n)).bit_length() - 1
    power = pow(base, (n - 1) >> s, n)
    if power in (1, n - 1):
        return True
    for _ in range(s - 1):
        power = power * power % n
        if power == n - 1:
            return True
    return False


def _strong_lucas(n: int) -> bool:
    """Whether odd n passes the strong Lucas test: U(d) = 0 or V(d 2**r) = 0 mod n, r < s, with n + 1 = d 2**s.

    Selfridge's parameters: D is the first of 5, -7, 9, -11, ... with Jacobi symbol (D / n) = -1; P = 1, and
    Q = (1 - D) / 4.
    """
    if math.isqrt(n) ** 2 == n:  # a square has no such D
        return False
    big_d = 5
    while (symbol := _jacobi(big_d, n)) == 1:
        big_d = -big_d - 2 if big_d > 0 else -big_d + 2
    if symbol == 0:  # a common factor, smaller than n
        return False
    q = (1 - big_d) // 4
    s = ((n + 1) & -(n + 1)).bit_length() - 1
    u, v, power = 1, 1, q  # U(k), V(k) and Q**k, for k = 1 and then all beginnings of d in binary
    for bit in bin((n + 1) >> s)[3:]:
        u, v, power = u * v % n, (v * v - 2 * power) % n, power * power % n
        if bit == "1":
            u, v, power = _half(u + v, n), _half(big_d * u + v, n), power * q % n
    if u == 0 or v == 0:
        return True
    for _ in range(s - 1):
        v, power = (v * v - 2 * power) % n, power * power % n
        if v == 0:
            return True
    return False


def _half(x: int, n: int) -> int:
    """x / 2 mod odd n."""
    return (x + n if x & 1 else x) // 2 % n


def _jacobi(a: int, n: int) -> int:
    """The Jacobi symbol (a / n), for odd n > 0."""
    a, sign = a % n, 1
    while a:
        while a % 2 == 0:
            a //= 2
            if n % 8 in (3, 5):
                sign = -sign
        if a % 4 == n % 4 == 3:
            sign = -sign
        a, n = n % a, a
    return sign if n == 1 else 0
