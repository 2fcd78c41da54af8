"""`oche prime`, `oche primes`, `oche factor`: answers for people and for programs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from cli_shell import Shell

from farms import Farm

BOOK = {
    "112272535095295": "112272535095295 = 5 * 22454507019059",
    "100109100129100369": "100109100129100369 is not prime",
    "100109100129101027": "100109100129101027 is not prime",
    "100109100129100151": "100109100129100151 is prime",
    "100109100129162907": "100109100129162907 is prime",
}


def test_prime_answers_a_line_a_number(shell: Shell) -> None:
    done = shell.run("prime", *BOOK, "0", "1", "2", "1e9", "1_000_003", str(2**127 - 1))
    assert done.stdout.splitlines() == [
        *BOOK.values(),
        "0 is not prime",
        "1 is not prime",
        "2 is prime",
        "1000000000 = 2 * 500000000",
        "1000003 is prime",
        f"{2**127 - 1} is prime",
    ]


def test_prime_as_json(shell: Shell) -> None:
    assert json.loads(shell.run("prime", "7", "8", "49729", str(2**89 - 1), "--json").stdout) == [
        {"n": 7, "prime": True, "factor": None},
        {"n": 8, "prime": False, "factor": 2},
        {"n": 49729, "prime": False, "factor": None},
        {"n": 2**89 - 1, "prime": True, "factor": None},
    ]


def test_prime_loads_no_compiler_and_no_arrays() -> None:
    loaded = "[m in sys.modules for m in ('numba', 'numpy')]"
    code = f"import sys; from oche.cli.main import main; main(['prime', '97']); print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "97 is prime\n[False, False]\n"


@pytest.mark.parametrize("n", ["-5", "1.5", "many", "1e2001", "nan", "1e999999999"])
def test_prime_and_factor_refuse_what_is_no_number(shell: Shell, n: str) -> None:
    for verb in ("prime", "factor"):
        assert repr(n) in shell.run(verb, "--", n, code=2).stderr


def test_primes_of_a_range(shell: Shell) -> None:
    assert shell.run("primes", "0", "30").stdout.split() == ["2", "3", "5", "7", "11", "13", "17", "19", "23", "29"]
    assert json.loads(shell.run("primes", "90", "102", "--json", "--workers", "1").stdout) == [97, 101]


def test_primes_are_counted_on_a_farm_as_here(shell: Shell, farm: Farm) -> None:
    farm.worker("--slots", "2")
    there = json.loads(shell.run("primes", "0", "1e9", "--count", "--json", "--on", farm.url).stdout)
    assert (there["lo"], there["hi"], there["count"]) == (0, 10**9, 50_847_534)
    listed = shell.run("primes", "1_000_000", "1_000_100", "--on", farm.url)
    assert listed.stdout.split() == ["1000003", "1000033", "1000037", "1000039", "1000081", "1000099"]
    found = json.loads(shell.run("factor", "100109100129101027", "--json", "--on", farm.url).stdout)
    assert found["factors"] == [171656941, 583192847]


def test_a_count_for_people(shell: Shell) -> None:
    done = shell.run("primes", "1e6", "2e6", "--count", "--workers", "2")
    assert done.stdout.startswith("70,435 primes from 1,000,000 to 2,000,000\n")
    assert done.stderr == ""


@pytest.mark.parametrize(("lo", "hi", "hint"), [("5", "3", "take 0 <= lo <= hi"), ("0", "1e12", "count_primes")])
def test_ranges_that_cannot_be_are_refused(shell: Shell, lo: str, hi: str, hint: str) -> None:
    assert hint in shell.run("primes", lo, hi, code=2).stderr


def test_factors(shell: Shell) -> None:
    assert shell.run("factor", "100109100129100369").stdout.startswith("100109100129100369 = 95362951 * 1049769319\n")
    assert shell.run("factor", "1").stdout.startswith("1 = 1\n")
    assert "take 1 or more" in shell.run("factor", "0", code=2).stderr
