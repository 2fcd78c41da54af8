"""The RabbitMQ driver."""

from oche.queues.rabbitmq.queue import RabbitMQQueue as RabbitMQQueue
