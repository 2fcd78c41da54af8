"""The dramatiq actors, as client and workers both import them."""

from __future__ import annotations

import os

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from work import TASKS

broker = RedisBroker(url=os.environ["BENCH_BROKER"])
# redis 8 ends a read after 5 s unless told not to, and a blocking wait for a result is such a read.
client = redis.Redis.from_url(os.environ["BENCH_BROKER"], socket_timeout=None)
broker.add_middleware(Results(backend=RedisBackend(client=client)))
dramatiq.set_broker(broker)
actors = {fn.__name__: dramatiq.actor(fn, store_results=True) for fn in TASKS}
