"""The driver of Redis and Valkey."""

from oche.queues.redis.queue import RedisQueue as RedisQueue
