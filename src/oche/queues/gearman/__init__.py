"""The Gearman driver."""

from oche.queues.gearman.queue import GearmanQueue as GearmanQueue
