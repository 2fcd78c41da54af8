"""What a stage may do, and what becomes of a message on which it fails."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import oche
from farms import until
from oche.errors import ConfigError
from oche.streams import Streams, connect, stage
from oche.streams.ids import Lately, derived_id
from oche.streams.stage import load_stages
from oche.streams.stamp import read_stamp, stamp

STAGES = """
import os
import signal
import sys
import time

from oche.streams import stage


@stage("squares", channel="a", to="out")
def square(number):
    print("squaring", number)
    return number * number


@stage("words", channel="a", to=("short", "long"))
def sort_out(text):
    for word in text.split():
        yield ("short" if len(word) < 4 else "long"), word


@stage("silent", channel="a")
def count(message):
    pass


@stage("picky", channel="a", to="out", retries=1)
def picky(message):
    raise ValueError(f"no {message}")


@stage("deadly", channel="a", to="out", retries=1)
def deadly(message):
    os.kill(os.getpid(), signal.SIGKILL)


@stage("endless", channel="a", to="out", retries=0, timeout=0.3)
def endless(message):
    time.sleep(60)


@stage("lost", channel="a", to=("one", "two"), retries=0)
def lost(message):
    return "three", message


@stage("wrong", channel="a", to="out", retries=0)
def wrong(message):
    return {1, 2}


@stage("narrow", channel="a", to="full", bound=5)
def narrow(message):
    return message


@stage("slow", channel="a", to="out")
def slow(message):
    time.sleep(message)
    return message
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "stages.py").write_text(STAGES)
    return str(tmp_path / "stages.py")


@pytest.fixture
def streams() -> Iterator[Streams]:
    with connect("local:") as streams:
        yield streams


@pytest.fixture
def only(file: str, streams: Streams) -> Iterator[Any]:
    """Runs one stage of the file."""
    nodes = []

    def only(name: str) -> None:
        path = Path(file).with_name(f"only_{name}.py")
        path.write_text(f"import sys\nsys.path.insert(0, {str(Path(file).parent)!r})\nfrom stages import {name}\n")
        sys.modules.pop("stages", None)
        node = streams.start(str(path), slots=1)
        nodes.append(node)

    yield only
    for node in nodes:
        node.drain()
        assert node.join(20.0)
        assert node.failed is None


def read(streams: Streams, topic: str, count: int) -> list[Any]:
    """So many messages of a topic."""
    return list(streams.read(topic, channel="test", limit=count, timeout=20.0))


def test_results_go_where_the_stage_says(streams: Streams, only: Any, capfd: pytest.CaptureFixture[str]) -> None:
    only("square")
    only("sort_out")
    streams.publish("squares", 7, 8)
    streams.publish("words", "the oche is a line", "")
    assert sorted(read(streams, "out", 2)) == [49, 64]
    assert read(streams, "short", 3) == ["the", "is", "a"]
    assert read(streams, "long", 2) == ["oche", "line"]
    assert "squaring 7" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("name", "topic", "reason", "attempts"),
    [
        ("picky", "picky", "ValueError: no {'x': 1}", 2),
        ("deadly", "deadly", "ended by SIGKILL", 2),
        ("endless", "endless", "over its time limit of 0.3 s", 1),
        ("lost", "lost", "it may return ('one', value) or ('two', value)", 1),
        ("wrong", "wrong", "messages are JSON values", 1),
    ],
)
def test_a_message_on_which_a_stage_fails_goes_to_the_dead_with_the_reason(
    streams: Streams, only: Any, name: str, topic: str, reason: str, attempts: int
) -> None:
    only(name)
    streams.publish(topic, {"x": 1})
    (letter,) = read(streams, f"{topic}.dead", 1)
    assert reason in letter.pop("reason")
    assert letter == {"message": {"x": 1}, "topic": topic, "channel": "a", "attempts": attempts}
    assert streams.depth(topic) == 0


def test_what_is_no_json_goes_to_the_dead(streams: Streams, only: Any) -> None:
    only("picky")
    queue = streams._topics._queue  # type: ignore[attr-defined]
    for body in (b"not json", b"\xff\xfe", b"[" * 100_000, b'{"$pickle": "gASVAAAA"}'):
        queue.put("stream;picky", body)
    letters = {str(letter["message"])[:20]: letter["reason"] for letter in read(streams, "picky.dead", 4)}
    assert sorted(letters) == ["[" * 20, "not json", "{'$pickle': 'gASVAAA", "\ufffd\ufffd"]
    assert "ValueError: no {'$pickle': 'gASVAAAA'}" in letters["{'$pickle': 'gASVAAA"]


def test_a_stage_stops_while_a_topic_behind_it_is_full(streams: Streams, only: Any) -> None:
    streams.subscribe("full", channel="test")
    streams.publish("narrow", *range(100))
    only("narrow")
    until(lambda: streams.depth("full") > 5, "the topic is full")
    # A look each half second; between two of them at most so many as are taken at a time.
    assert sorted(read(streams, "full", 100)) == list(range(100))


def test_the_slow_do_not_hold_up_the_quick(streams: Streams, only: Any) -> None:
    only("slow")
    streams.publish("slow", *[0] * 200)
    assert len(read(streams, "out", 200)) == 200  # now it takes many at a time
    only("slow")
    streams.publish("slow", 3, *[0] * 20)
    assert read(streams, "out", 20) == [0] * 20
    assert read(streams, "out", 1) == [3]


def test_farms_do_not_hear_each_other(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    with connect(f"{url}?farm=one") as one, connect(url) as all_the_others:
        for streams in (one, all_the_others):
            streams.subscribe("t", channel="c")
        one.publish("t", 1)
        all_the_others.publish("t", 2)
        assert list(one.read("t", channel="c", timeout=0.1)) == [1]
        assert list(all_the_others.read("t", channel="c", timeout=0.1)) == [2]


def test_who_stops_reading_leaves_the_rest(streams: Streams) -> None:
    streams.publish("t", *range(10))
    assert read(streams, "t", 3) == [0, 1, 2]
    for value in streams.read("t", channel="test"):
        if value == 4:
            break
    # The last one was handed over, and nobody said that it was done.
    assert list(streams.read("t", channel="test", timeout=0.1)) == [4, 5, 6, 7, 8, 9]


def test_a_channel_that_was_removed_keeps_nothing(streams: Streams) -> None:
    streams.subscribe("t", channel="test")
    streams.publish("t", 1)
    streams.remove("t", channel="test")
    assert list(streams.read("t", channel="test", timeout=0.1)) == []


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: stage("a b", channel="c"), "topic 'a b' cannot be used"),
        (lambda: stage("a", channel=""), "channel '' cannot be used"),
        (lambda: stage("a", channel="c", to=("b", "ö")), "topic 'ö' cannot be used"),
        (lambda: stage("a" * 62, channel="c"), r"a\.dead' cannot be used"),
        (lambda: stage("a", channel="c", retries=-1), "retries=-1 of stage a/c cannot be used: give 0 or more"),
        (lambda: load_stages("nowhere.py"), r"nowhere\.py cannot be read"),
        (lambda: load_stages("nowhere"), r"there is no module 'nowhere'; for a file write nowhere\.py"),
        (lambda: load_stages("json"), "json has no stages"),
    ],
)
def test_what_cannot_be_right_is_told_of(call: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        call()


def test_two_stages_of_one_channel_are_told_of(tmp_path: Path) -> None:
    line = '@stage("t", channel="c")\ndef {}(message): pass\n'
    (tmp_path / "twice.py").write_text(f"from oche.streams import stage\n{line.format('a')}{line.format('b')}")
    with pytest.raises(ConfigError, match=r"two stages for t/c"):
        load_stages(str(tmp_path / "twice.py"))


def test_the_pipeline_of_the_documents_runs(streams: Streams, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "streams.md").read_text()
    (tmp_path / "pipeline.py").write_text(text.partition("```python\n")[2].partition("```")[0])
    streams.publish("numbers", {"number": 7}, {"number": 8})
    with streams.start(str(tmp_path / "pipeline.py"), slots=1):
        assert read(streams, "primes", 1) == [{"number": 7, "prime": True}]
        assert read(streams, "non_primes", 1) == [{"number": 8, "prime": False}]


def test_what_is_not_json_is_not_published(streams: Streams) -> None:
    for value in ({1, 2}, float("nan"), b"x", object()):
        with pytest.raises(ConfigError, match="messages are JSON values"):
            streams.publish("t", 1, value)
    assert streams.depth("t") == 0


def test_a_file_that_fails_only_in_a_child_stops_the_node(streams: Streams, tmp_path: Path) -> None:
    (tmp_path / "here.py").write_text(
        "import os\nfrom oche.streams import stage\n"
        f"if os.getpid() != {__import__('os').getpid()}: raise RuntimeError('no licence')\n"
        '@stage("t", channel="c")\ndef a(message): pass\n'
    )
    streams.publish("t", 1)
    node = streams.start(str(tmp_path / "here.py"), slots=1)
    assert node.join(20.0)
    assert node.failed is not None
    assert "RuntimeError no licence" in node.failed
    assert list(streams.read("t", channel="c", timeout=0.1)) == [1]


@given(st.binary(max_size=100), st.integers(0, 2**64 - 1), st.integers(0, 300))
def test_a_stamp_is_nothing_to_a_reader_of_json(body: bytes, number: int, count: int) -> None:
    id = f"{number:016x}"
    stamped = stamp(body, id, count)
    assert read_stamp(stamped) == (body.rstrip(), id, min(count, 255))
    assert stamped.strip() == body.strip()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda some: st.lists(some, max_size=3), max_leaves=5
    )
)
def test_json_has_no_stamp_of_its_own(value: Any) -> None:
    body = json.dumps(value).encode()
    assert read_stamp(body) == (body, "", 0)
    assert json.loads(stamp(body, "0123456789abcdef")) == value


def test_ids_follow_from_the_input() -> None:
    assert derived_id("a", "t/c", 0) == derived_id("a", "t/c", 0)
    assert len({derived_id("a", "t/c", 0), derived_id("a", "t/c", 1), derived_id("b", "t/c", 0)}) == 3
    lately = Lately(2)
    for id in "abc":
        lately.add(id)
    assert [id in lately for id in "abc"] == [False, True, True]


def test_it_has_a_name_at_the_top() -> None:
    assert oche.streams.connect is connect
