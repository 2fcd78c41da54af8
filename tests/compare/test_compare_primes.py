"""The prime comparison, with small numbers of the published shapes: right in every row, and honest about it."""

from __future__ import annotations

import json
import multiprocessing

import psutil
import pytest
from comparing import until
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import factorint, isprime

from oche.cli.output import json_text
from oche.compare import primes as module
from oche.compare import primes_report as report
from oche.compare.primes import Comparison, Number, Progress, Timing, compare_primes
from oche.compare.primes_kernel import TOP, products
from oche.compare.primes_loops import EVERY
from oche.compare.primes_rows import ROWS, Row, pick
from oche.errors import ConfigError, Crashed, OcheError
from oche.testing.servers import missing

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

#: Of the published shapes: a small factor, two large ones, and two primes.
SMALL = (5 * 2_000_003, 1009 * 1013, 2003 * 2011, 4_000_037, 1_000_003)


@pytest.fixture(scope="module")
def found():
    missing("redis-server", "redis")
    told: list[Progress] = []
    before = set(psutil.Process().children(recursive=True))
    comparison = compare_primes(SMALL, runs=2, processes=2, on_progress=told.append)
    assert len(set(psutil.Process().children(recursive=True)) - before) <= 1  # the resource tracker may be new
    assert multiprocessing.active_children() == []
    assert [progress.row for progress in told] == [row.name for row in ROWS] * 2
    assert told[0].done == 0.0
    assert [progress.done for progress in told] == sorted(progress.done for progress in told)
    assert told[0].expected > 0
    return comparison


def test_every_row_is_timed_on_every_number(found):
    assert list(found.timings) == [row.name for row in ROWS]
    assert all(list(timings) == list(SMALL) for timings in found.timings.values())
    assert all(timing.seconds > 0 for timings in found.timings.values() for timing in timings.values())
    assert found.lacking == {}


def test_numbers_are_described(found):
    for number in found.numbers:
        factors = factorint(number.n)
        assert number.factor == (None if isprime(number.n) else min(factors))
        assert (number.place is not None) == (number.factor is not None and number.factor > 21)
        assert number.place is None or 0 <= number.place < 1
    assert [number.n for number in found.composites] == list(SMALL[1:3])
    assert [number.n for number in found.primes] == list(SMALL[3:])


def test_looks_are_counted(found):
    for row in ROWS:
        for number in found.primes:
            looks = found.timings[row.name][number.n].looks
            if row.flag:
                steps = number.n**0.5 / 2
                assert steps // EVERY - 1 <= looks <= steps // EVERY + 2
            else:
                assert (looks > 0) == (row.name == "kernel-byte")


def test_the_byte_and_the_stops_are_measured(found):
    assert len(found.kernel_seconds) == 2
    assert len(found.stops) == 20
    assert all(0 <= late < 10 for late in found.stops)


def test_the_report_shows_all_of_it(found):
    text = str(report.table(found))
    assert "2 processes, the best of 2 runs" in text
    for row in ROWS:
        assert f"\n{row.name}: {row.why}" in text
    assert f"{SMALL[0]} = 5 * 2000003" in text
    assert f"{SMALL[3]} is prime" in text
    assert "316,405 looks at the flag" in text
    assert "4.80 x" in text
    assert "+1.5%" in text
    assert text.count("published:") >= 6
    assert "fastest on all: " in text
    plain = json.loads(json_text(report.plain(found)))
    assert list(plain["rows"]) == [row.name for row in ROWS]
    assert plain["rows"]["local"]["times_faster_on_composites"] == pytest.approx(report.gain(found, "local"))
    assert len(plain["goals"]) == 2


def test_few_rows_leave_the_rest_open():
    found = compare_primes(SMALL[:2], rows=pick("strong-test, serial"), runs=1, processes=1)
    assert list(found.timings) == ["serial", "strong-test"]
    assert (found.kernel_seconds, found.stops, report.gain(found, "serial")) == (None, [], None)
    assert [goal.reached for goal in report.goals(found)] == [None, None]
    assert "pool:" not in str(report.table(found))
    assert all(str(goal).startswith("not measured: ") for goal in report.goals(found))


def test_small_and_even_numbers_and_squares_are_right():
    numbers = [2, 3, 4, 8, 9, 15, 25, 437, 439, 441, 443, 529, 841, 961, 1009 * 1009]
    rows = pick("naive-pool,pool,local,kernel,strong-test")
    found = compare_primes(numbers, rows=rows, runs=1, processes=3)
    assert [number.n for number in found.numbers if number.factor is None] == [n for n in numbers if isprime(n)]
    found = compare_primes([2**64 - 1, 4294967291 * 4294967279], rows=pick("kernel"), runs=1, processes=3)
    assert [number.factor for number in found.numbers] == [3, 4294967279]


def test_without_a_redis_the_row_says_how_to_get_one(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    found = compare_primes(SMALL[:2], rows=pick("pool,redis"), runs=1, processes=2)
    assert found.lacking == {"redis": "redis-server is not installed here; apt install redis-server"}
    assert list(found.timings) == ["pool"]
    assert "redis is not here: redis-server is not installed here; apt install redis-server" in str(report.table(found))


def test_a_row_that_is_wrong_is_told():
    wrong = Row(name="wrong", why="", loop=lambda *_: (None, 0), pool=False)
    with pytest.raises(OcheError, match=f"wrong says that {SMALL[1]} is prime"):
        compare_primes([SMALL[1]], rows=[wrong], runs=1, processes=1)


def kill_one(kind: str) -> psutil.Process:
    victims = [child for child in psutil.Process().children(recursive=True) if kind in " ".join(child.cmdline())]
    victims[0].kill()
    return victims[0]


def test_killed_workers_of_the_cluster_change_no_verdict():
    kills = []

    def kill(progress: Progress) -> None:
        if len(kills) < 2:
            kills.append(kill_one("oche.worker.child"))

    numbers = module.NUMBERS
    found = compare_primes(numbers, rows=pick("kernel-byte"), runs=4, processes=2, on_progress=kill)
    assert [number.factor for number in found.numbers] == [5, 95362951, 171656941, None, None]
    assert len(kills) == 2


def test_a_killed_process_of_the_pool_is_told_and_all_end():
    before = set(psutil.Process().children(recursive=True))
    forked: list[psutil.Process] = []

    def kill(_progress: Progress) -> None:
        forked.extend(psutil.Process(child.pid) for child in multiprocessing.active_children())
        forked[0].kill()
        until(lambda: forked[0].status() == psutil.STATUS_ZOMBIE, "it is dead")

    with pytest.raises(Crashed, match="run it again"):
        compare_primes(SMALL, rows=pick("pool,mmap"), runs=1, processes=2, on_progress=kill)
    assert len(forked) == 2
    left = [child for child in set(psutil.Process().children(recursive=True)) - before if child.is_running()]
    assert len(left) <= 1  # the resource tracker may be new


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"numbers": []}, "no number is given"),
        ({"numbers": [1]}, "1 is not compared; take numbers from 2"),
        ({"numbers": [2**64]}, "is not compared"),
        ({"numbers": [7, 7]}, "name each once"),
        ({"runs": 0}, "0 runs"),
        ({"processes": 0}, "0 processes"),
        ({"rows": ()}, "0 rows"),
    ],
)
def test_what_cannot_be_compared_is_refused(options, text):
    with pytest.raises(ConfigError, match=text):
        compare_primes(**{"numbers": SMALL, **options})


def test_rows_are_picked_by_name():
    assert [row.name for row in pick("local, serial")] == ["serial", "local"]
    assert pick(None) == ROWS
    with pytest.raises(ConfigError, match=r"no row is called 'mmmap'; take some of serial, naive-pool"):
        pick("local,mmmap")
    with pytest.raises(ConfigError, match="no row is named"):
        pick(" ,")


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 16), st.integers(0, 2**32))
def test_products_have_their_factor_in_the_first_half_of_a_share(processes, seed):
    share = int(TOP**0.5) // processes
    for n in products(processes, 1, seed):
        small, large = sorted(factorint(n))
        assert small * large == n < 2**64
        assert small % share < share * 0.51 + 2**23


def made(**seconds: tuple[float, float]) -> Comparison:
    """A comparison of one composite and one prime, with these seconds."""
    numbers = [Number(n=10403, factor=101, place=0.25), Number(n=10007, factor=None, place=None)]
    return Comparison(
        processes=4, runs=1, numbers=numbers, lacking={}, kernel_seconds=(1.0, 1.02), stops=[0.001, 0.006],
        timings={
            row.replace("_", "-"): {
                number.n: Timing(seconds=value, looks=1) for number, value in zip(numbers, values, strict=True)
            }
            for row, values in seconds.items()
        },
    )  # fmt: skip


def test_what_was_published_is_judged():
    good = made(pool=(4.0, 10.0), mmap=(1.1, 12.0), look_ahead=(1.1, 11.0), two_stage=(1.0, 10.2), local=(1.0, 10.1),
                raw_value=(1.2, 12.1), manager=(2.0, 20.0), redis=(2.0, 30.0))  # fmt: skip
    assert report.best_gain(good) == 4.0
    assert report.gain(good, "local") == 4.0
    assert report.more(good, "local") == pytest.approx(0.01)
    assert [claim.holds for claim in report.claims(good)] == [True] * 6
    bad = made(pool=(4.0, 10.0), mmap=(1.1, 12.0), look_ahead=(1.1, 13.0), two_stage=(1.0, 14.0), local=(3.0, 15.0),
               raw_value=(1.2, 12.1), manager=(2.0, 11.0), redis=(2.0, 30.0))  # fmt: skip
    assert [claim.holds for claim in report.claims(bad)] == [False] * 6
    assert all("not so here: " in str(claim) and claim.because for claim in report.claims(bad))


def test_a_busy_machine_is_noticed():
    same = {"pool": (4.0, 10.0), "mmap": (1.0, 10.0), "look_ahead": (1.0, 11.0)}
    calm, busy = made(naive_pool=(4.0, 10.1), **same), made(naive_pool=(4.0, 12.0), **same)
    assert (report.noise(made(**same)), report.noise(busy)) == (None, pytest.approx(0.2))
    assert "the machine was busy" not in str(report.table(calm))
    assert "differ by 20%: the machine was busy" in str(report.table(busy))
    assert [claim.holds for claim in report.claims(calm)] == [False]
    assert [claim.holds for claim in report.claims(busy)] == [True]


def test_goals_are_judged():
    assert [goal.reached for goal in report.goals(made(pool=(1.0, 1.0)))] == [False, False]
    assert [str(goal)[:4] for goal in report.goals(made(pool=(1.0, 1.0)))] == ["NO: ", "NO: "]
