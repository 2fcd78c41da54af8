"""Topics and channels: pipelines of stages over any broker.

from oche.streams import connect, stage

@stage("numbers", channel="worker_group_a", to=("primes", "non_primes"))
def sort(message): ...

with connect("redis://host") as streams:
    streams.publish("numbers", {"number": 7})
"""

from oche.streams.client import Streams as Streams
from oche.streams.client import connect as connect
from oche.streams.stage import Stage as Stage
from oche.streams.stage import stage as stage

__all__ = ["Stage", "Streams", "connect", "stage"]
