"""Figures in units for people, and tables without a terminal."""

from __future__ import annotations

import pytest

from oche.compare.table import Goal, Table, minutes, seconds, size


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 ns"), (3.2e-9, "3.2 ns"), (1.5e-6, "1.5 µs"), (0.00045, "450 µs"), (0.9999e-3, "1 ms"),
        (0.0456, "45.6 ms"), (0.254, "254 ms"), (1.234, "1.23 s"), (99.96, "100 s"), (1234.5, "1,234 s"),
    ],
)  # fmt: skip
def test_seconds(value, text):
    assert seconds(value) == text


def test_minutes_and_sizes():
    assert [minutes(5), minutes(119), minutes(120), minutes(3600)] == ["5 s", "119 s", "2 min", "60 min"]
    assert [size(5), size(5e3), size(2.5e6), size(6.4e9)] == ["5 B", "5.00 kB", "2.50 MB", "6.40 GB"]


def test_a_table_is_aligned():
    table = Table("title", ["", "a"], [["row", "1"], ["longer", "100"]], ["a note"])
    assert str(table) == "title\n           a\nrow        1\nlonger   100\na note"


def test_goals():
    assert [str(Goal("x", reached)) for reached in (True, False, None)] == ["yes: x", "NO: x", "not measured: x"]
