"""The picture: PNG and SVG, and a reason where there is none."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from oche.compare import plot, primes_plot
from oche.compare.primes import compare_primes
from oche.compare.primes_rows import pick
from oche.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


@pytest.fixture(scope="module")
def found():
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'oche[plot]'")
    return compare_primes([1009 * 1013, 4_000_037], rows=pick("pool,local,strong-test"), runs=1, processes=2)


def test_it_is_written_as_the_name_says(found, tmp_path: Path):
    primes_plot.save(found, tmp_path / "bars.png")
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    primes_plot.save(found, tmp_path / "bars.SVG")
    root = ElementTree.parse(tmp_path / "bars.SVG").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    text = (tmp_path / "bars.SVG").read_text()
    assert all(name in text for name in ("pool", "local", "strong-test", "large composites, 2 processes", "published"))


def test_numbers_that_take_no_search_are_drawn_too(tmp_path: Path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'oche[plot]'")
    found = compare_primes([15], rows=pick("serial"), runs=1, processes=1)
    primes_plot.save(found, tmp_path / "bars.svg")
    assert "numbers, 1 processes" in (tmp_path / "bars.svg").read_text()


def test_what_cannot_be_drawn_is_said_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match=r"take one that ends with .png or .svg"):
        plot.check_path(tmp_path / "bars.jpeg")
    with pytest.raises(ConfigError, match="is no folder"):
        plot.check_path(tmp_path / "nowhere" / "bars.png")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"pip install 'oche\[plot\]'"):
        plot.check_path(tmp_path / "bars.png")
