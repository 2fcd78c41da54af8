"""A counter loses nothing: whoever adds, whoever is killed."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sharers import add_many, leftovers, other, until

from oche.errors import ConfigError, ValueLost
from oche.sharing.counter import Counter

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

int64 = st.integers(-(2**63), 2**63 - 1)


@settings(deadline=None)
@given(st.lists(int64))
def test_it_adds_as_integers_of_64_bits_do(numbers):
    with Counter() as counter:
        expected = 0
        for n in numbers:
            expected = (expected + n + 2**63) % 2**64 - 2**63
            assert counter.add(n) == counter.value == expected


def test_processes_of_every_kind_lose_no_update():
    times = 20_000
    with Counter() as counter:
        ways = ["fork", "spawn", "unrelated"]
        others = [other(counter, way) for way in ways]
        theirs = [there.__enter__() for there in others]
        for there in theirs:
            there.begin("add_many", times)
        mine = add_many(counter, times)
        ends = [there.end() for there in theirs]
        assert counter.value == 4 * times == max(mine, *ends)
        for there in others:
            there.__exit__(None, None, None)


def test_threads_lose_no_update():
    with Counter() as counter:
        threads = [threading.Thread(target=add_many, args=(counter, 10_000)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counter.value == 40_000


def test_a_killed_process_holds_nothing_up():
    before = leftovers()
    with Counter() as counter, other(counter, "spawn") as there:
        there.begin("add_for_ever")
        until(lambda: counter.value > 1000, "it counts")
        there.process.kill()
        there.process.join()
        end = counter.value
        assert counter.add() == end + 1
        assert counter.value == end + 1
    assert not leftovers() - before


def test_what_is_no_number_of_64_bits_is_refused():
    with Counter() as counter:
        for n in (1.5, "1", None, 2**63, -(2**63) - 1):
            with pytest.raises(ConfigError, match="cannot be counted"):
                counter.add(n)
        assert counter.value == 0


def test_a_closed_one_says_so():
    counter = Counter()
    data = pickle.dumps(counter)
    counter.close()
    counter.close()
    for use in (counter.add, lambda: counter.value, lambda: pickle.dumps(counter)):
        with pytest.raises(ValueLost, match="was closed here"):
            use()
    with pytest.raises(ValueLost):
        pickle.loads(data)


def test_importing_it_loads_no_compiler():
    code = "import sys, oche.sharing.counter, oche.sharing.locks, oche.sharing.race; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"
