"""Topics on RabbitMQ: a fan-out exchange for each, to which the queues of its channels are bound.

    stream;TOPIC            exchange, fanout; and a queue, for what is published while no channel is bound
    stream;TOPIC;CHANNEL    queue of the channel: a tube of the queue driver, which holds, renews and gives back

So other programs publish to the exchange, and AMQP does what the made-up topics do by hand. A message of theirs has no
stamp: it is put again, with one, into the channel that got it. Exchanges are spoken to over a connection of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from oche.queues.rabbitmq.names import arguments, level, properties
from oche.queues.rabbitmq.queue import BATCH, RabbitMQQueue
from oche.queues.rabbitmq.wire import Conversation
from oche.queues.seam import DEFAULT_PRIORITY, Delivery
from oche.streams.ids import new_id
from oche.streams.queued import QueueTopics, tube_of
from oche.streams.seam import Parcel
from oche.streams.stamp import stamp


class RabbitMQTopics(QueueTopics):
    """Connections to a RabbitMQ 3.10 or newer."""

    def __init__(self, url: str) -> None:
        super().__init__(RabbitMQQueue.open(url))
        self._url = url
        self._declared: set[str] = set()
        try:
            self._wire = Conversation(url)
        except BaseException:
            self._queue.close()
            raise

    @classmethod
    def open(cls, url: str) -> Self:
        """`amqp://user:password@host:5672/%2F`, or `amqps://`, as the queue driver takes them."""
        return cls(url)

    def clone(self) -> Self:
        return type(self)(self._url)

    def publish(self, topic: str, parcels: Sequence[Parcel]) -> None:
        wire = self._wire
        for place in range(0, len(parcels), BATCH):
            with wire.talk():
                exchange = self._exchange(topic)
                for parcel in parcels[place : place + BATCH]:
                    told = properties(parcel.id, level=level(DEFAULT_PRIORITY), lease=self.lease)
                    wire.post.basic_publish(exchange, "", stamp(parcel.body, parcel.id, 1), told)
                wire.publish(())  # the end of the transaction

    def subscribe(self, topic: str, channel: str) -> None:
        super().subscribe(topic, channel)
        self._watched = (self._tube,)
        wire = self._wire
        with wire.talk():
            exchange = self._exchange(topic)
            wire.declare(self._tube, arguments(self._tube))
            wire.post.queue_bind(self._tube, exchange)
            # Now that a channel is bound, nothing comes any more to where messages waited for the first one.
            more = True
            while more:
                for _ in range(BATCH):
                    method, told, body = wire.post.basic_get(exchange)
                    more = method is not None
                    if not more:
                        break
                    wire.post.basic_publish(exchange, "", body, told)
                    wire.post.basic_ack(method.delivery_tag)
                wire.publish(())

    def depth(self, topic: str) -> int:
        with self._wire.talk():
            exchange = self._exchange(topic)
        tubes = self._channels(topic)
        with self._wire.talk():
            return max((self._wire.count(queue) or (0, 0))[0] for queue in (exchange, *tubes))

    def remove(self, topic: str, channel: str) -> None:
        self._queue.unsignal(tube_of(topic, channel))
        with self._wire.talk():
            self._wire.drop(tube_of(topic, channel))

    def close(self) -> None:
        super().close()
        self._wire.close()

    # --- what they stand on

    def _exchange(self, topic: str) -> str:
        """The topic's exchange, there for certain; what it can give to no channel is kept in a queue of its name."""
        name = tube_of(topic)
        if name not in self._declared:
            post, unrouted = self._wire.post, f"{name};"
            post.exchange_declare(unrouted, "fanout", durable=True)
            post.queue_declare(name, durable=True)
            post.queue_bind(name, unrouted)
            post.exchange_declare(name, "fanout", durable=True, arguments={"alternate-exchange": unrouted})
            self._declared.add(name)
        return name

    def _deal(self, pairs: Sequence[tuple[Delivery, tuple[bytes, str, int]]]) -> None:
        self._queue.put_many(self._tube, [stamp(body, new_id(), 1) for _, (body, _, _) in pairs], lease=self.lease)
        self._queue.delete_many([delivery for delivery, _ in pairs])
