"""The conformance suite of topics: each promise of `oche.streams.seam` is a test, and a driver passes them all.

    from oche.testing.streams_suite import Rig, StreamsSuite

    class TestMyTopics(StreamsSuite):
        @pytest.fixture
        def rig(self):
            with MyServer() as server:
                yield Rig(open=lambda: MyTopics.open(server.url))

The last test lets Hypothesis invent what receivers do to the messages of two channels.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oche.errors import Closed
from oche.streams.ids import new_id
from oche.streams.seam import Message, Parcel, Topics
from oche.testing.queue_rig import until

#: Seconds in which a message that is to be had must have come.
PATIENCE = 20.0


@dataclass(frozen=True, kw_only=True)
class Rig:
    """How the suite reaches the broker under test. Leases should be short: 1 or 2 s."""

    open: Callable[[], Topics]
    foreign: Callable[[str, bytes], None]  #: another program publishes the body to the topic
    leases: bool = True  #: the broker ends the lease of a receiver that is silent
    #: False for a broker that may overlook a lease that ran out until its holder speaks: the suite lets it speak.
    leases_end_in_silence: bool = True
    settled: float = 0.0  #: seconds until every publisher knows a new channel
    max_body: int = 50_000  #: bytes of a body that the broker takes as it is set up here


class StreamsSuite:
    """Subclass it with a fixture `rig`."""

    #: Examples that Hypothesis tries.
    examples = 4

    @pytest.fixture
    def connect(self, rig: Rig) -> Iterator[Callable[..., Topics]]:
        """Opens a connection, with a subscription if a topic and a channel are given; it is closed at the end."""
        with ExitStack() as stack:

            def connect(topic: str = "", channel: str = "") -> Topics:
                topics = stack.enter_context(rig.open())
                if topic:
                    topics.subscribe(topic, channel)
                return topics

            yield connect

    @pytest.fixture
    def topic(self) -> str:
        return f"topic.{uuid4().hex[:12]}"

    def test_what_is_published_before_there_is_a_channel_waits_for_the_first(
        self, connect: Callable[..., Topics], topic: str
    ) -> None:
        parcels = _parcels(30)
        connect().publish(topic, parcels)
        assert _ids(_take(connect(topic, "first"), 30)) == {parcel.id for parcel in parcels}

    def test_each_channel_gets_all_and_its_receivers_share_them(
        self, rig: Rig, connect: Callable[..., Topics], topic: str
    ) -> None:
        publisher = connect()
        channels = [[connect(topic, "a"), connect(topic, "a")], [connect(topic, "b")]]
        time.sleep(rig.settled)
        parcels = _parcels(60)
        publisher.publish(topic, parcels)
        for receivers in channels:
            seen: Counter[str] = Counter()
            end = time.monotonic() + PATIENCE
            while seen.total() < 60 and time.monotonic() < end:
                for receiver in receivers:
                    messages = receiver.receive(10, 0.1)
                    receiver.ack(messages)
                    seen.update(message.id for message in messages)
            assert seen == {parcel.id: 1 for parcel in parcels}
            assert receivers[0].receive(10, 0.2) == []

    @pytest.mark.parametrize(
        "body",
        [
            b"{}",
            b'{"number": 7, "prime": true}',
            '"caf\u00e9 \U0001f3af"'.encode(),
            b'"' + b"x" * 40_000 + b'"',
            b"[1,\n 2]",
        ],
        ids=["empty", "published", "unicode", "large", "lines"],
    )
    def test_body_and_id_come_as_they_went(
        self, connect: Callable[..., Topics], topic: str, body: bytes, rig: Rig
    ) -> None:
        if len(body) > rig.max_body:
            pytest.skip(f"this broker takes {rig.max_body} bytes")
        receiver = connect(topic, "a")
        parcel = Parcel(new_id(), body)
        connect().publish(topic, [parcel])
        (message,) = _take(receiver, 1)
        assert (message.id, message.body, message.attempts) == (parcel.id, body, 1)

    def test_nothing_comes_is_nothing_and_in_time(self, connect: Callable[..., Topics], topic: str) -> None:
        receiver = connect(topic, "a")
        began = time.monotonic()
        assert receiver.receive(5, 0.3) == []
        assert 0.2 < time.monotonic() - began < 3.0

    def test_a_retry_counts_and_waits(self, connect: Callable[..., Topics], topic: str) -> None:
        receiver = connect(topic, "a")
        connect().publish(topic, _parcels(1))
        (first,) = _take(receiver, 1)
        began = time.monotonic()
        receiver.retry(first, 0.7)
        (second,) = _take(receiver, 1)
        assert time.monotonic() - began > 0.6
        assert (second.id, second.body, second.attempts) == (first.id, first.body, 2)
        receiver.ack([first])  # the one before: nothing happens
        receiver.retry(second, 0.0)
        (third,) = _take(receiver, 1)
        assert third.attempts == 3

    def test_a_release_counts_only_where_the_broker_cannot_help_it(
        self, connect: Callable[..., Topics], topic: str
    ) -> None:
        receiver = connect(topic, "a")
        connect().publish(topic, _parcels(1))
        for turn in range(4):
            (message,) = _take(receiver, 1)
            assert message.attempts == (turn + 1 if receiver.release_counts else 1)
            receiver.release([message])

    def test_what_a_lost_connection_held_is_to_be_had_again(self, connect: Callable[..., Topics], topic: str) -> None:
        receiver = connect(topic, "a")
        parcels = _parcels(5)
        connect().publish(topic, parcels)
        _take(receiver, 5)
        receiver.close()
        again = _take(connect(topic, "a"), 5)
        assert _ids(again) == {parcel.id for parcel in parcels}

    def test_a_lease_lasts_while_it_is_renewed(self, rig: Rig, connect: Callable[..., Topics], topic: str) -> None:
        if not rig.leases:
            pytest.skip("this broker ends no lease")
        receiver = connect(topic, "a")
        connect().publish(topic, _parcels(1))
        held = _take(receiver, 1)
        other = connect(topic, "a")
        end = time.monotonic() + 2.0 * receiver.lease
        while time.monotonic() < end:
            receiver.touch(held)
            assert other.receive(1, receiver.lease / 4.0) == []
        if not rig.leases_end_in_silence:
            until(lambda: receiver.depth(topic) == 1, "the lease ran out, as the broker saw when its holder spoke")
        (again,) = _take(other, 1)
        assert (again.id, again.attempts) == (held[0].id, 2)
        receiver.ack(held)  # it is not its any more: nothing happens
        other.release([again])
        assert _ids(_take(other, 1)) == _ids(held)

    def test_depth_is_that_of_the_fullest_channel(self, rig: Rig, connect: Callable[..., Topics], topic: str) -> None:
        publisher = connect()
        assert publisher.depth(topic) == 0
        publisher.publish(topic, _parcels(7))
        until(lambda: publisher.depth(topic) == 7, "depth without a channel")
        first = connect(topic, "a")
        connect(topic, "b")
        first.ack(_take(first, 7))
        time.sleep(rig.settled)
        publisher.publish(topic, _parcels(3))
        first.ack(_take(first, 3))
        until(lambda: publisher.depth(topic) in (3, 10), "depth of the channel that nobody read")

    def test_a_removed_channel_is_gone_with_what_it_held(
        self, rig: Rig, connect: Callable[..., Topics], topic: str
    ) -> None:
        publisher = connect()
        connect(topic, "a").close()
        kept = connect(topic, "kept")
        time.sleep(rig.settled)
        publisher.publish(topic, _parcels(5))
        publisher.remove(topic, "a")
        publisher.remove(topic, "never")
        later = connect(topic, "a")
        time.sleep(rig.settled)
        (parcel,) = _parcels(1)
        publisher.publish(topic, [parcel])
        assert _ids(_take(later, 1)) == {parcel.id}
        assert len(_take(kept, 6)) == 6

    def test_a_message_from_elsewhere_is_taken_as_it_is(
        self, rig: Rig, connect: Callable[..., Topics], topic: str
    ) -> None:
        receiver = connect(topic, "a")
        time.sleep(rig.settled)
        for number in range(3):
            rig.foreign(topic, b'{"number": %d}' % number)
        messages = _take(receiver, 3)
        assert sorted(json.loads(message.body)["number"] for message in messages) == [0, 1, 2]
        assert len(_ids(messages) - {""}) == 3
        receiver.release(messages)
        assert _ids(_take(receiver, 3)) == _ids(messages)

    def test_close_ends_a_receive_of_another_thread(self, connect: Callable[..., Topics], topic: str) -> None:
        receiver = connect(topic, "a")
        raised: list[BaseException] = []

        def wait() -> None:
            try:
                receiver.receive(1, PATIENCE)
            except Exception as error:
                raised.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.2)
        receiver.close()
        thread.join(PATIENCE)
        assert [type(error) for error in raised] == [Closed]

    def test_whatever_receivers_do_each_message_is_acknowledged_once_in_each_channel(
        self, rig: Rig, connect: Callable[..., Topics]
    ) -> None:
        @settings(max_examples=self.examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(st.lists(st.sampled_from(["publish", "ack", "retry", "release", "reopen"]), max_size=15), st.data())
        def check(actions: list[str], data: st.DataObject) -> None:
            topic = f"topic.{uuid4().hex[:12]}"
            published: set[str] = set()
            with ExitStack() as stack:
                publisher = stack.enter_context(rig.open())
                receivers = {channel: _receiver(stack, rig, topic, channel) for channel in ("a", "b")}
                acked: dict[str, Counter[str]] = {channel: Counter() for channel in receivers}
                time.sleep(rig.settled)
                for action in [*actions, "publish"]:
                    channel = data.draw(st.sampled_from(["a", "b"]))
                    receiver = receivers[channel]
                    if action == "publish":
                        parcels = _parcels(data.draw(st.integers(1, 5)))
                        publisher.publish(topic, parcels)
                        published |= {parcel.id for parcel in parcels}
                        continue
                    messages = receiver.receive(data.draw(st.integers(1, 4)), 0.05)
                    if action == "ack":
                        receiver.ack(messages)
                        acked[channel].update(message.id for message in messages)
                    elif action == "retry":
                        for message in messages:
                            receiver.retry(message, 0.05)
                    elif action == "release":
                        receiver.release(messages)
                    else:
                        receiver.close()
                        receivers[channel] = _receiver(stack, rig, topic, channel)
                for channel, receiver in receivers.items():
                    end = time.monotonic() + PATIENCE
                    while acked[channel].keys() != published and time.monotonic() < end:
                        messages = receiver.receive(10, 0.1)
                        receiver.ack(messages)
                        acked[channel].update(message.id for message in messages)
                    assert acked[channel] == dict.fromkeys(published, 1)

        check()


def _receiver(stack: ExitStack, rig: Rig, topic: str, channel: str) -> Topics:
    topics = stack.enter_context(rig.open())
    topics.subscribe(topic, channel)
    return topics


def _parcels(count: int) -> list[Parcel]:
    return [Parcel(new_id(), b'{"number": %d}' % number) for number in range(count)]


def _ids(messages: list[Message]) -> set[str]:
    return {message.id for message in messages}


def _take(topics: Topics, count: int) -> list[Message]:
    """So many messages, held."""
    messages: list[Message] = []
    end = time.monotonic() + PATIENCE
    while len(messages) < count:
        assert time.monotonic() < end, f"only {len(messages)} of {count} messages came"
        messages += topics.receive(count - len(messages), 0.2)
        topics.touch(messages)
    return messages
