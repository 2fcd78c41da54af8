"""Is it prime: against sieves, other people's tests, and numbers made to deceive."""

from __future__ import annotations

import itertools
import subprocess
import sys

import flint
import numpy as np
import pytest
import sympy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oche.algorithms import primality
from oche.algorithms.primality import BASES, is_prime
from oche.errors import ConfigError

#: Strong pseudoprimes to the first 1, 2, ... primes: the smallest ones (OEIS A014233).
DECEIVERS = [
    2047, 1373653, 25326001, 3215031751, 2152302898747, 3474749660383, 341550071728321, 3825123056546413051,
    318665857834031151167461, 3317044064679887385961981,
]  # fmt: skip


def test_all_up_to_200_000():
    primes = set(sympy.primerange(200_000))
    assert [n for n in range(-10, 200_000) if is_prime(n)] == sorted(primes)


@pytest.mark.parametrize(
    ("n", "prime"),
    [
        (112272535095295, False),
        (100109100129100369, False),
        (100109100129101027, False),
        (100109100129100151, True),
        (100109100129162907, True),
        (2**61 - 1, True),
        (2**64 - 59, True),
        (2**89 - 1, True),
        (2**127 - 1, True),
        (2**67 - 1, False),
        (2**128 + 1, False),
        (10**400 + 69, bool(sympy.isprime(10**400 + 69))),
    ],
)
def test_known_numbers(n, prime):
    assert is_prime(n) is prime


@pytest.mark.parametrize("n", DECEIVERS)
def test_deceivers(n):
    assert not is_prime(n)


@pytest.mark.parametrize("n", [n for base in BASES for n in (base, 2 * base, 3 * base, base + 1, base**2, base * 97)])
def test_bases_and_their_multiples(n):
    assert is_prime(n) is sympy.isprime(n)


def test_the_strong_test_alone_knows_its_bases():
    """Where small factors do not decide: n divides a base, or the base is a multiple of n."""
    for n in range(5, 5000, 2):
        assert all(primality._strong(n, base) for base in BASES) is sympy.isprime(n), n


@settings(deadline=None, max_examples=400)
@given(st.one_of(st.integers(2**32 - 500, 2**32 + 500), st.integers(2**53 - 500, 2**53 + 500),
                 st.integers(2**62 - 500, 2**62 + 500), st.integers(2**64 - 2000, 2**64 + 2000),
                 st.integers(-10, 2**130)))  # fmt: skip
def test_any_number(n):
    assert is_prime(n) is bool(n > 0 and flint.fmpz(n).is_prime())


@settings(deadline=None, max_examples=100)
@given(st.integers(10, 2**80))
def test_squares_and_products_of_neighbours(n):
    p = sympy.nextprime(n)
    assert is_prime(p)
    assert not is_prime(p * p)
    assert not is_prime(p * sympy.nextprime(p))


@settings(deadline=None, max_examples=60)
@given(st.integers(35, 10**14))
@example(35)
def test_carmichael_numbers_of_chernick(k):
    """(6 k + 1) (12 k + 1) (18 k + 1) is one where all three are prime; composite it always is."""
    while not (sympy.isprime(6 * k + 1) and sympy.isprime(12 * k + 1) and sympy.isprime(18 * k + 1)):
        k += 1
    assert not is_prime((6 * k + 1) * (12 * k + 1) * (18 * k + 1))


def test_the_strong_lucas_test_alone():
    """Its pseudoprimes are known (OEIS A217255), and none is one of base 2."""
    passed = [n for n in range(5, 60_000, 2) if primality._strong_lucas(n) and not sympy.isprime(n)]
    assert passed == [5459, 5777, 10877, 16109, 18971, 22499, 24569, 25199, 40309, 58519]
    # 5, 7 and 11 have a factor in common with a D of theirs; trial division is there for these
    missed = [n for n in range(5, 60_000, 2) if sympy.isprime(n) and not primality._strong_lucas(n)]
    assert missed == [5, 11]
    assert not any(primality._strong(n, 2) for n in passed)


def test_above_64_bits_both_tests_are_needed_and_agree():
    for n in itertools.islice(range(2**64 + 1, 2**65, 2), 2000):
        assert is_prime(n) is sympy.isprime(n)


@pytest.mark.parametrize("n", [1.5, 7.0, "7", None, [7], 1j])
def test_what_is_no_integer_is_refused(n):
    with pytest.raises(ConfigError, match=r"n = .* is no integer; take one"):
        is_prime(n)


def test_integers_of_numpy_are_integers():
    assert is_prime(np.int64(97))
    assert is_prime(np.uint64(2**64 - 59))


def test_it_needs_nothing_but_python():
    code = "import sys; from oche.algorithms.primality import is_prime; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
